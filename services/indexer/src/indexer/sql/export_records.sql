-- An account's records of one collection in the order of their keys: $1 did, $2 collection, $3 the rkey to go on behind,
-- $4 how many at most, $5 the bytes of JSON after which no further one is added.
SELECT collection, rkey, cid, rev, created_at, record FROM (
    SELECT *, sum(octet_length(record)) OVER (ORDER BY rkey) - octet_length(record) AS before
    FROM (
        SELECT r.collection, r.rkey, r.cid, r.rev, r.created_at, r.record::text AS record FROM record AS r
        WHERE r.did = $1 AND r.collection = $2 AND r.rkey > $3
          AND NOT EXISTS (SELECT FROM repo AS a WHERE a.did = $1 AND (a.purging OR $2 = ANY (a.excluded)))
        ORDER BY r.rkey LIMIT $4
    ) AS taken
) AS measured
WHERE before < $5
ORDER BY rkey;
