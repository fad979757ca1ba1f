"""The repo-backfill service: fetches one account's whole repo, verifies it and publishes its records."""
