-- The first collection behind another that an account has records of: $1 did, $2 collection.
SELECT collection FROM record WHERE did = $1 AND collection > $2 ORDER BY collection LIMIT 1;
