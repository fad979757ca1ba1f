-- Follows repos' live events from now on, since snapshots of them are about to be fetched: $1 dids.
INSERT INTO repo (did, tracked_from)
SELECT did, now() FROM unnest($1::text[]) AS did ORDER BY did COLLATE "C"
ON CONFLICT (did) DO UPDATE SET tracked_from = now() WHERE repo.tracked_from IS NULL;
