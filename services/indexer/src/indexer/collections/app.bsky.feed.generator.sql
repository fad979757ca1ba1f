-- app.bsky.feed.generator: custom feeds.
CALL create_record_partition('record_generator', 'app.bsky.feed.generator');

CREATE VIEW "generator" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.feed.generator/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'did') AS feed_did,
    jsonb_text(r.record -> 'displayName') AS display_name,
    jsonb_text(r.record -> 'description') AS description,
    jsonb_blob_cid(r.record -> 'avatar') AS avatar_cid,
    jsonb_boolean(r.record -> 'acceptsInteractions') AS accepts_interactions,
    jsonb_text(r.record -> 'contentMode') AS content_mode,
    r.record,
    r.indexed_at
FROM record_generator AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "generator" IS 'app.bsky.feed.generator of active accounts';
