-- app.bsky.feed.post: posts. The subject is the parent of a reply.
CALL create_record_partition('record_post', 'app.bsky.feed.post');

CREATE VIEW "post" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.feed.post/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'text') AS text,
    jsonb_texts(r.record -> 'langs') AS langs,
    jsonb_texts(r.record -> 'tags') AS tags,
    jsonb_text(r.record #> '{reply,parent,uri}') AS reply_parent,
    jsonb_text(r.record #> '{reply,parent,cid}') AS reply_parent_cid,
    jsonb_text(r.record #> '{reply,root,uri}') AS reply_root,
    jsonb_text(r.record #> '{reply,root,cid}') AS reply_root_cid,
    jsonb_text(r.record #> '{embed,$type}') AS embed_type,
    r.record -> 'embed' AS embed,
    jsonb_list(r.record -> 'facets') AS facets,
    jsonb_list(r.record #> '{labels,values}') AS labels,
    r.record,
    r.indexed_at
FROM record_post AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "post" IS 'app.bsky.feed.post of active accounts';
