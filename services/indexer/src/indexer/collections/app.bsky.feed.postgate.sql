-- app.bsky.feed.postgate: who may embed a post.
CALL create_record_partition('record_postgate', 'app.bsky.feed.postgate');

CREATE VIEW "postgate" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.feed.postgate/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'post') AS post,
    jsonb_list(r.record -> 'embeddingRules') AS embedding_rules,
    jsonb_texts(r.record -> 'detachedEmbeddingUris') AS detached_embedding_uris,
    r.record,
    r.indexed_at
FROM record_postgate AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "postgate" IS 'app.bsky.feed.postgate of active accounts';
