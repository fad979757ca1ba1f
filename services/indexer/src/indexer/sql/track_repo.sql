-- Follows a repo's live events from now on, since a snapshot of it is about to be fetched: $1 did.
INSERT INTO repo (did, tracked_from) VALUES ($1, now())
ON CONFLICT (did) DO UPDATE SET tracked_from = now() WHERE repo.tracked_from IS NULL;
