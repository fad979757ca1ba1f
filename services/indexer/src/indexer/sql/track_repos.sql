-- Follows repos' live events from now on, since snapshots of them are about to be fetched: $1 dids. Two jobs of one
-- repo may have asked.
INSERT INTO repo (did, tracked_from)
SELECT did, now() FROM (SELECT DISTINCT unnest($1::text[]) COLLATE "C" AS did) AS asked ORDER BY did
ON CONFLICT (did) DO UPDATE SET tracked_from = now() WHERE repo.tracked_from IS NULL;
