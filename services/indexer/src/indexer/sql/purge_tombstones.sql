-- Forgets some tombstones that are older than any message can be late: $1 microseconds since 1970, $2 how many.
-- Those of a repo whose snapshot is being written stay.
DELETE FROM tombstone AS t USING (
    SELECT o.did, o.collection, o.rkey FROM tombstone AS o JOIN repo AS r USING (did)
    WHERE o.deleted_at < $1 AND r.snapshot_job IS NULL
    LIMIT $2
) AS old
WHERE t.did = old.did AND t.collection = old.collection AND t.rkey = old.rkey AND t.deleted_at < $1;
