-- app.bsky.graph.verification: verifications of one account by another. The subject is a DID.
CALL create_record_partition('record_verification', 'app.bsky.graph.verification');

CREATE VIEW "verification" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.graph.verification/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.subject,
    jsonb_text(r.record -> 'handle') AS handle,
    jsonb_text(r.record -> 'displayName') AS display_name,
    r.record,
    r.indexed_at
FROM record_verification AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "verification" IS 'app.bsky.graph.verification of active accounts';
