-- site.standard.document: documents of Standard.site publications.
CALL create_record_partition('record_standard_document', 'site.standard.document');

CREATE VIEW "standard_document" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/site.standard.document/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'site') AS site,
    jsonb_text(r.record -> 'path') AS path,
    jsonb_text(r.record -> 'title') AS title,
    jsonb_text(r.record -> 'description') AS description,
    jsonb_text(r.record -> 'textContent') AS text_content,
    jsonb_blob_cid(r.record -> 'coverImage') AS cover_image_cid,
    jsonb_text(r.record #> '{bskyPostRef,uri}') AS bsky_post,
    jsonb_texts(r.record -> 'tags') AS tags,
    jsonb_time(r.record -> 'publishedAt') AS published_at,
    jsonb_time(r.record -> 'updatedAt') AS modified_at,
    r.record,
    r.indexed_at
FROM record_standard_document AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "standard_document" IS 'site.standard.document of active accounts';
