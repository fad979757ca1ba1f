-- An account's records of one collection, newest first: $1 did, $2 collection, $3 and $4 the effective time (in
-- microseconds) and rkey of the record to go on behind, $5 how many are looked at, $6 a jsonpath that they have to
-- match (NULL: all do), $7 how many are wanted, $8 the bytes of JSON after which no further one is added.
SELECT collection, rkey, cid, rev, created_at, record FROM (
    SELECT *, sum(octet_length(record)) OVER (ORDER BY created_at DESC, rkey DESC) - octet_length(record) AS before
    FROM (
        SELECT collection, rkey, cid, rev, created_at, record::text AS record FROM (
            SELECT r.collection, r.rkey, r.cid, r.rev, r.created_at, r.record FROM record AS r
            WHERE did_key(r.did) = did_key($1) AND r.did = $1 AND r.collection = $2
              AND r.created_at <= $3 AND (r.created_at < $3 OR r.rkey < $4)
              AND NOT EXISTS (SELECT FROM repo AS a WHERE a.did = $1 AND (a.purging OR $2 = ANY (a.excluded)))
            ORDER BY r.created_at DESC, r.rkey DESC LIMIT $5
        ) AS seen
        WHERE $6::text IS NULL OR jsonb_path_exists(seen.record, $6::text::jsonpath, '{}', true)
        ORDER BY created_at DESC, rkey DESC LIMIT $7
    ) AS matching
) AS measured
WHERE before < $8
ORDER BY created_at DESC, rkey DESC;
