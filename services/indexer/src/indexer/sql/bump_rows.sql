-- Records that a snapshot with a cutoff confirms take its rev: $1 dids, $2 collections, $3 rkeys, $4 revs.
UPDATE record AS r SET rev = b.rev
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS b (did, collection, rkey, rev)
WHERE r.did = b.did AND r.collection = b.collection AND r.rkey = b.rkey AND r.rev < b.rev;
