-- Some rows of an excluded collection: $1 did, $2 collection, $3 how many. Nobody writes others meanwhile.
DELETE FROM record WHERE did = $1 AND collection = $2 AND rkey IN (
    SELECT rkey FROM record WHERE did = $1 AND collection = $2 LIMIT $3
);
