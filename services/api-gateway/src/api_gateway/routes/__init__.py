"""The HTTP routes. They parse, ask the modules beside this package, and say the answer."""
