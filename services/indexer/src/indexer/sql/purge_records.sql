-- Some rows of a deleted account: $1 did, $2 the rev at or below which, $3 how many.
WITH doomed AS MATERIALIZED (
    SELECT collection, rkey FROM record WHERE did = $1 AND rev <= $2 LIMIT $3
)
DELETE FROM record AS r USING doomed AS d
WHERE r.did = $1 AND r.collection = d.collection AND r.rkey = d.rkey AND r.rev <= $2;
