-- com.germnetwork.declaration: how an account can be reached on Germ.
CALL create_record_partition('record_germnetwork_declaration', 'com.germnetwork.declaration');

CREATE VIEW "germnetwork_declaration" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/com.germnetwork.declaration/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'version') AS version,
    jsonb_text(r.record #> '{messageMe,messageMeUrl}') AS message_me_url,
    jsonb_text(r.record #> '{messageMe,showButtonTo}') AS show_button_to,
    r.record,
    r.indexed_at
FROM record_germnetwork_declaration AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "germnetwork_declaration" IS 'com.germnetwork.declaration of active accounts';
