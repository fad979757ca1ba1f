-- com.atproto.lexicon.schema: published lexicons; the rkey is the NSID.
CALL create_record_partition('record_lexicon_schema', 'com.atproto.lexicon.schema');

CREATE VIEW "lexicon_schema" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/com.atproto.lexicon.schema/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_integer(r.record -> 'lexicon') AS lexicon,
    jsonb_text(r.record #> '{defs,main,description}') AS description,
    jsonb_text(r.record #> '{defs,main,type}') AS type,
    r.record -> 'defs' AS defs,
    r.record,
    r.indexed_at
FROM record_lexicon_schema AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "lexicon_schema" IS 'com.atproto.lexicon.schema of active accounts';
