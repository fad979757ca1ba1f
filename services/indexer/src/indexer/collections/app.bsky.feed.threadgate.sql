-- app.bsky.feed.threadgate: who may reply to a thread.
CALL create_record_partition('record_threadgate', 'app.bsky.feed.threadgate');

CREATE VIEW "threadgate" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.feed.threadgate/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'post') AS post,
    jsonb_list(r.record -> 'allow') AS allow,
    jsonb_texts(r.record -> 'hiddenReplies') AS hidden_replies,
    r.record,
    r.indexed_at
FROM record_threadgate AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "threadgate" IS 'app.bsky.feed.threadgate of active accounts';
