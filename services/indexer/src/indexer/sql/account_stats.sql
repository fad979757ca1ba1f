-- What the table holds of an account: in all (kind 3), of each collection (1; the largest $2) and by month of the
-- effective time (2; the newest $3). $1 did. Reads every row of the account, and of nobody else. Grouped once, by
-- collection and month, since that can be done by several workers, which grouping sets cannot; what is said comes from
-- these few rows. Bytes are of the records as stored, compressed, without keys and indexes.
WITH counted AS MATERIALIZED (
    SELECT r.collection, date_trunc('month', r.created_at) AS month, count(*) AS records,
           min(r.created_at) AS first_at, max(r.created_at) AS last_at,
           sum(pg_column_size(r.record) + coalesce(pg_column_size(r.raw), 0)) AS bytes
    FROM record AS r
    WHERE r.did = $1
    GROUP BY r.collection, date_trunc('month', r.created_at)
), shown AS MATERIALIZED (
    SELECT * FROM counted AS r
    WHERE NOT EXISTS (SELECT FROM repo AS a WHERE a.did = $1 AND (a.purging OR r.collection = ANY (a.excluded)))
), summed AS MATERIALIZED (
    SELECT grouping(collection, month) AS kind, collection, month, sum(records)::bigint AS records,
           min(first_at) AS first_at, max(last_at) AS last_at, sum(bytes)::bigint AS bytes
    FROM shown
    GROUP BY GROUPING SETS ((), (collection), (month))
)
SELECT kind, collection, to_char(month, 'YYYY-MM') AS month, coalesce(records, 0) AS records, first_at, last_at, bytes
FROM (
    (SELECT * FROM summed WHERE kind = 3)
    UNION ALL (SELECT * FROM summed WHERE kind = 1 ORDER BY records DESC, collection LIMIT $2)
    UNION ALL (SELECT * FROM summed WHERE kind = 2 ORDER BY month DESC LIMIT $3)
) AS found
ORDER BY kind DESC, collection, found.month;
