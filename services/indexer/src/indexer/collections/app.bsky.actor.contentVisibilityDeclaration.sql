-- app.bsky.actor.contentVisibilityDeclaration: what an account declares about who may see its content. Readers honour it; the value is given whole.
CALL create_record_partition('record_content_visibility_declaration', 'app.bsky.actor.contentVisibilityDeclaration');

CREATE VIEW "content_visibility_declaration" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.actor.contentVisibilityDeclaration/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.record,
    r.indexed_at
FROM record_content_visibility_declaration AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "content_visibility_declaration" IS 'app.bsky.actor.contentVisibilityDeclaration of active accounts';
