-- app.bsky.actor.status: what an account is doing now, such as being live.
CALL create_record_partition('record_status', 'app.bsky.actor.status');

CREATE VIEW "status" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.actor.status/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'status') AS status,
    r.record -> 'embed' AS embed,
    jsonb_integer(r.record -> 'durationMinutes') AS duration_minutes,
    r.record,
    r.indexed_at
FROM record_status AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "status" IS 'app.bsky.actor.status of active accounts';
