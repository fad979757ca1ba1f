-- Staged rows into the table: the highest rev of a key wins, and so does a tombstone at or above it.
INSERT INTO record (did, collection, rkey, cid, rev, created_at, subject, record, raw)
SELECT s.did, s.collection, s.rkey, s.cid, s.rev, s.created_at, s.subject, s.record, s.raw
FROM staged AS s
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
