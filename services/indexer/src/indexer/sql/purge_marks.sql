-- Some tombstones of a deleted account: $1 did, $2 the rev at or below which, $3 how many.
WITH doomed AS MATERIALIZED (
    SELECT collection, rkey FROM tombstone WHERE did = $1 AND rev <= $2 LIMIT $3
)
DELETE FROM tombstone AS t USING doomed AS d
WHERE t.did = $1 AND t.collection = d.collection AND t.rkey = d.rkey AND t.rev <= $2;
