-- Deletes: $1 dids, $2 collections, $3 rkeys, $4 revs. A row of a higher rev stays. The tombstone is left even where
-- no row was, so that an older create that comes later loses.
WITH gone AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS g (did, collection, rkey, rev)
), deleted AS (
    DELETE FROM record AS r USING gone AS g
    WHERE r.did = g.did AND r.collection = g.collection AND r.rkey = g.rkey AND r.rev < g.rev
)
INSERT INTO tombstone (did, collection, rkey, rev)
SELECT did, collection, rkey, rev FROM gone
ON CONFLICT (did, collection, rkey) DO UPDATE SET rev = excluded.rev, deleted_at = now()
WHERE tombstone.rev < excluded.rev;
