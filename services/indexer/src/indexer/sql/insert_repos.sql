-- Rows for repos never heard of: $1 dids, $2 whether their live events are to be followed.
INSERT INTO repo (did, tracked_from)
SELECT did, CASE WHEN $2::boolean THEN now() END FROM unnest($1::text[]) AS did ORDER BY did
ON CONFLICT (did) DO NOTHING;
