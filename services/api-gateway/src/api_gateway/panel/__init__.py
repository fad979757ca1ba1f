"""The pages that people see: what stands on them, in which words, and the files that they are made of."""
