-- What the table holds of an account, by collection: $1 did.
SELECT collection, count(*) AS records, min(created_at) AS first_at, max(created_at) AS last_at
FROM record WHERE did = $1
GROUP BY collection ORDER BY collection;
