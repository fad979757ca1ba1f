-- Deferred commits that a completed snapshot holds: $1 dids, $2 floors. The first condition is for the index.
DELETE FROM deferred_commit AS d USING unnest($1::text[], $2::text[]) AS f (did, floor)
WHERE d.did = ANY ($1::text[]) AND d.did = f.did AND d.rev <= f.floor;
