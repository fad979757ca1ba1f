-- app.bsky.graph.listblock: blocks of whole lists. The subject is the list.
CALL create_record_partition('record_listblock', 'app.bsky.graph.listblock');

CREATE VIEW "listblock" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.graph.listblock/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.subject,
    r.record,
    r.indexed_at
FROM record_listblock AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "listblock" IS 'app.bsky.graph.listblock of active accounts';
