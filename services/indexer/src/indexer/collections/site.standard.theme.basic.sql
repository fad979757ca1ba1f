-- site.standard.theme.basic: themes of Standard.site publications, colours as objects.
CALL create_record_partition('record_theme_basic', 'site.standard.theme.basic');

CREATE VIEW "theme_basic" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/site.standard.theme.basic/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.record -> 'background' AS background,
    r.record -> 'foreground' AS foreground,
    r.record -> 'accent' AS accent,
    r.record -> 'accentForeground' AS accent_foreground,
    r.record,
    r.indexed_at
FROM record_theme_basic AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "theme_basic" IS 'site.standard.theme.basic of active accounts';
