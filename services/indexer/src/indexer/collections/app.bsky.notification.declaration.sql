-- app.bsky.notification.declaration: who may subscribe to an account's activity.
CALL create_record_partition('record_notification_declaration', 'app.bsky.notification.declaration');

CREATE VIEW "notification_declaration" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.notification.declaration/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'allowSubscriptions') AS allow_subscriptions,
    r.record,
    r.indexed_at
FROM record_notification_declaration AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "notification_declaration" IS 'app.bsky.notification.declaration of active accounts';
