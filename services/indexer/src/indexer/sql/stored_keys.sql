-- What the table holds of a stretch of one collection of a repo: $1 did, $2 collection, $3 first and $4 last rkey.
SELECT rkey, cid, rev FROM record
WHERE did = $1 AND collection = $2 AND rkey BETWEEN $3 AND $4;
