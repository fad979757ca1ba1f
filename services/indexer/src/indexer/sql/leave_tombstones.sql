-- Tombstones of deletes: $1 dids, $2 collections, $3 rkeys, $4 revs. Also where no row was, so that an older create that
-- comes later loses.
INSERT INTO tombstone (did, collection, rkey, rev)
SELECT did, collection, rkey, rev
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS g (did, collection, rkey, rev)
ON CONFLICT (did, collection, rkey) DO UPDATE SET rev = excluded.rev, deleted_at = now()
WHERE tombstone.rev < excluded.rev;
