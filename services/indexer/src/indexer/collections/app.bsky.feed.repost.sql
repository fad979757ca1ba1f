-- app.bsky.feed.repost: reposts.
CALL create_record_partition('record_repost', 'app.bsky.feed.repost');

CREATE VIEW "repost" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.feed.repost/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.subject,
    jsonb_text(r.record #> '{subject,cid}') AS subject_cid,
    jsonb_text(r.record #> '{via,uri}') AS via,
    r.record,
    r.indexed_at
FROM record_repost AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "repost" IS 'app.bsky.feed.repost of active accounts';
