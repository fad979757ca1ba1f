-- app.bsky.graph.starterpack: starter packs: accounts and feeds to begin with.
CALL create_record_partition('record_starterpack', 'app.bsky.graph.starterpack');

CREATE VIEW "starterpack" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.graph.starterpack/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'name') AS name,
    jsonb_text(r.record -> 'description') AS description,
    jsonb_text(r.record -> 'list') AS list,
    jsonb_list(r.record -> 'feeds') AS feeds,
    r.record,
    r.indexed_at
FROM record_starterpack AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "starterpack" IS 'app.bsky.graph.starterpack of active accounts';
