-- app.bsky.graph.block: blocks. The subject is a DID.
CALL create_record_partition('record_block', 'app.bsky.graph.block');

CREATE VIEW "block" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.graph.block/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.subject,
    r.record,
    r.indexed_at
FROM record_block AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "block" IS 'app.bsky.graph.block of active accounts';
