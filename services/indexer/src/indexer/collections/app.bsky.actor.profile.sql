-- app.bsky.actor.profile: how an account presents itself. One a repo, at rkey self.
CALL create_record_partition('record_profile', 'app.bsky.actor.profile');

CREATE VIEW "profile" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.actor.profile/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'displayName') AS display_name,
    jsonb_text(r.record -> 'description') AS description,
    jsonb_text(r.record -> 'pronouns') AS pronouns,
    jsonb_text(r.record -> 'website') AS website,
    jsonb_blob_cid(r.record -> 'avatar') AS avatar_cid,
    jsonb_blob_cid(r.record -> 'banner') AS banner_cid,
    jsonb_text(r.record #> '{pinnedPost,uri}') AS pinned_post,
    jsonb_text(r.record #> '{joinedViaStarterPack,uri}') AS joined_via_starterpack,
    jsonb_list(r.record #> '{labels,values}') AS labels,
    r.record,
    r.indexed_at
FROM record_profile AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "profile" IS 'app.bsky.actor.profile of active accounts';
