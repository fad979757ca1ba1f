-- Deferred commits that a completed snapshot holds: $1 dids, $2 floors.
DELETE FROM deferred_commit AS d USING unnest($1::text[], $2::text[]) AS f (did, floor)
WHERE d.did = f.did AND d.rev <= f.floor;
