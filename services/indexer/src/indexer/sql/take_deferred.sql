-- Takes the deferred commits of repos whose whole snapshot will not complete: $1 dids.
DELETE FROM deferred_commit WHERE did = ANY ($1::text[]) RETURNING payload;
