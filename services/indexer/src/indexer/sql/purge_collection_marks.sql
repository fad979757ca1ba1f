-- Some tombstones of an excluded collection: $1 did, $2 collection, $3 how many.
DELETE FROM tombstone WHERE did = $1 AND collection = $2 AND rkey IN (
    SELECT rkey FROM tombstone WHERE did = $1 AND collection = $2 LIMIT $3
);
