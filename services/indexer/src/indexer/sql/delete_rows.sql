-- Deletes: $1 dids, $2 collections, $3 rkeys, $4 revs. A row of a higher rev stays.
DELETE FROM record AS r
USING unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS g (did, collection, rkey, rev)
WHERE r.did = g.did AND r.collection = g.collection AND r.rkey = g.rkey AND r.rev < g.rev;
