"""The bus: subjects, messages, job state, streams and buckets. The whole contract between the services."""
