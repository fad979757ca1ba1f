-- site.standard.graph.recommend: recommendations of Standard.site documents.
CALL create_record_partition('record_graph_recommend', 'site.standard.graph.recommend');

CREATE VIEW "graph_recommend" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/site.standard.graph.recommend/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'document') AS document,
    r.record,
    r.indexed_at
FROM record_graph_recommend AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "graph_recommend" IS 'site.standard.graph.recommend of active accounts';
