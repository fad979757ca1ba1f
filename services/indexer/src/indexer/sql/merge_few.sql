-- As merge_staged, of a few rows: $1 dids, $2 collections, $3 rkeys, $4 CIDs, $5 revs, $6 effective times, $7 subjects,
-- $8 records, $9 raw blocks.
INSERT INTO record (did, collection, rkey, cid, rev, created_at, subject, record, raw)
SELECT s.did, s.collection, s.rkey, s.cid, s.rev, s.created_at, s.subject, s.record, s.raw
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::jsonb[], $9::bytea[]
) AS s (did, collection, rkey, cid, rev, created_at, subject, record, raw)
WHERE NOT EXISTS (
    SELECT FROM tombstone AS t
    WHERE t.did = s.did AND t.collection = s.collection AND t.rkey = s.rkey AND t.rev >= s.rev
)
ON CONFLICT (did, collection, rkey) DO UPDATE SET
    cid = excluded.cid,
    rev = excluded.rev,
    created_at = excluded.created_at,
    subject = excluded.subject,
    record = excluded.record,
    raw = excluded.raw,
    indexed_at = CASE WHEN record.cid = excluded.cid THEN record.indexed_at ELSE excluded.indexed_at END
WHERE record.rev < excluded.rev;
