-- What the table holds of an account: in all (kind 3), of each collection (1; the largest $2) and by month of the
-- effective time (2; the newest $3). $1 did. Reads every row of the account, and of nobody else: about a second for a
-- million. Bytes are of the records as stored, compressed, without keys and indexes.
WITH counted AS MATERIALIZED (
    SELECT grouping(r.collection, m.month) AS kind, r.collection, m.month, count(*) AS records,
           min(r.created_at) AS first_at, max(r.created_at) AS last_at,
           sum(pg_column_size(r.record) + coalesce(pg_column_size(r.raw), 0)) AS bytes
    FROM record AS r, LATERAL (SELECT date_trunc('month', r.created_at) AS month) AS m
    WHERE r.did = $1
      AND NOT EXISTS (SELECT FROM repo AS a WHERE a.did = $1 AND (a.purging OR r.collection = ANY (a.excluded)))
    GROUP BY GROUPING SETS ((), (r.collection), (m.month))
)
SELECT kind, collection, to_char(month, 'YYYY-MM') AS month, records, first_at, last_at, bytes::bigint AS bytes FROM (
    (SELECT * FROM counted WHERE kind = 3)
    UNION ALL (SELECT * FROM counted WHERE kind = 1 ORDER BY records DESC, collection LIMIT $2)
    UNION ALL (SELECT * FROM counted WHERE kind = 2 ORDER BY month DESC LIMIT $3)
) AS found
ORDER BY kind DESC, collection, found.month;
