-- site.standard.publication: Standard.site publications.
CALL create_record_partition('record_standard_publication', 'site.standard.publication');

CREATE VIEW "standard_publication" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/site.standard.publication/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'url') AS url,
    jsonb_text(r.record -> 'name') AS name,
    jsonb_text(r.record -> 'description') AS description,
    jsonb_blob_cid(r.record -> 'icon') AS icon_cid,
    jsonb_boolean(r.record #> '{preferences,showInDiscover}') AS show_in_discover,
    r.record,
    r.indexed_at
FROM record_standard_publication AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "standard_publication" IS 'site.standard.publication of active accounts';
