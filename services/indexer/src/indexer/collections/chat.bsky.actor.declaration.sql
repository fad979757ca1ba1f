-- chat.bsky.actor.declaration: who may write to an account.
CALL create_record_partition('record_actor_declaration', 'chat.bsky.actor.declaration');

CREATE VIEW "actor_declaration" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/chat.bsky.actor.declaration/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'allowIncoming') AS allow_incoming,
    r.record,
    r.indexed_at
FROM record_actor_declaration AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "actor_declaration" IS 'chat.bsky.actor.declaration of active accounts';
