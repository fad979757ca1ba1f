-- app.bsky.graph.listitem: the members of lists.
CALL create_record_partition('record_listitem', 'app.bsky.graph.listitem');

CREATE VIEW "listitem" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.graph.listitem/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.subject,
    jsonb_text(r.record -> 'list') AS list,
    r.record,
    r.indexed_at
FROM record_listitem AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "listitem" IS 'app.bsky.graph.listitem of active accounts';
