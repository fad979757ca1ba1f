-- Repos of which a row is there as a late commit wrote it: $1 dids, $2 collections, $3 rkeys, $4 the commits' revs.
SELECT DISTINCT r.did
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w (did, collection, rkey, rev)
JOIN record AS r USING (did, collection, rkey)
WHERE r.rev = w.rev;
