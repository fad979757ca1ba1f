-- app.bsky.graph.follow: follows. The subject is a DID.
CALL create_record_partition('record_follow', 'app.bsky.graph.follow');

CREATE VIEW "follow" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.graph.follow/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.subject,
    jsonb_text(r.record #> '{via,uri}') AS via,
    r.record,
    r.indexed_at
FROM record_follow AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "follow" IS 'app.bsky.graph.follow of active accounts';
