-- site.standard.graph.subscription: subscriptions to Standard.site publications.
CALL create_record_partition('record_graph_subscription', 'site.standard.graph.subscription');

CREATE VIEW "graph_subscription" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/site.standard.graph.subscription/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    jsonb_text(r.record -> 'publication') AS publication,
    r.record,
    r.indexed_at
FROM record_graph_subscription AS r JOIN repo AS a USING (did)
WHERE a.status = 'active';
COMMENT ON VIEW "graph_subscription" IS 'site.standard.graph.subscription of active accounts';
