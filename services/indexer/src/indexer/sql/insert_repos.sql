-- Rows for repos never heard of: $1 dids.
INSERT INTO repo (did)
SELECT did FROM unnest($1::text[]) AS did ORDER BY did
ON CONFLICT (did) DO NOTHING;
