-- app.bsky.graph.list: lists of accounts.
CALL create_record_partition('record_list', 'app.bsky.graph.list');

CREATE VIEW "list" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.graph.list/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'purpose') AS purpose,
    jsonb_text(r.record -> 'name') AS name,
    jsonb_text(r.record -> 'description') AS description,
    jsonb_blob_cid(r.record -> 'avatar') AS avatar_cid,
    r.record,
    r.indexed_at
FROM record_list AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "list" IS 'app.bsky.graph.list of active accounts';
