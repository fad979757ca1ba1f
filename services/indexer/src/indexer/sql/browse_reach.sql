-- How far a search has looked: the last of the $5 records that browse_records looks at. $1 to $4 as there.
SELECT rkey, created_at, looked_at FROM (
    SELECT r.rkey, r.created_at, row_number() OVER (ORDER BY r.created_at DESC, r.rkey DESC) AS looked_at
    FROM record AS r
    WHERE did_key(r.did) = did_key($1) AND r.did = $1 AND r.collection = $2
      AND r.created_at <= $3 AND (r.created_at < $3 OR r.rkey < $4)
    ORDER BY r.created_at DESC, r.rkey DESC LIMIT $5
) AS seen
ORDER BY looked_at DESC LIMIT 1;
