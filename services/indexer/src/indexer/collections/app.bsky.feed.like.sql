-- app.bsky.feed.like: likes. The subject can be any record, not only a post.
CALL create_record_partition('record_like', 'app.bsky.feed.like');

CREATE VIEW "like" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.feed.like/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.subject,
    jsonb_text(r.record #> '{subject,cid}') AS subject_cid,
    jsonb_text(r.record #> '{via,uri}') AS via,
    r.record,
    r.indexed_at
FROM record_like AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "like" IS 'app.bsky.feed.like of active accounts';
