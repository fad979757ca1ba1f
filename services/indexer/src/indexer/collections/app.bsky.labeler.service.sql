-- app.bsky.labeler.service: labelers.
CALL create_record_partition('record_labeler_service', 'app.bsky.labeler.service');

CREATE VIEW "labeler_service" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.labeler.service/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_texts(r.record #> '{policies,labelValues}') AS label_values,
    jsonb_list(r.record #> '{policies,labelValueDefinitions}') AS label_definitions,
    jsonb_texts(r.record -> 'reasonTypes') AS reason_types,
    jsonb_texts(r.record -> 'subjectTypes') AS subject_types,
    jsonb_texts(r.record -> 'subjectCollections') AS subject_collections,
    r.record,
    r.indexed_at
FROM record_labeler_service AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "labeler_service" IS 'app.bsky.labeler.service of active accounts';
