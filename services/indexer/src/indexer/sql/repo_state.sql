-- What repo-backfill asks before it fetches: $1 did. One row, also for a repo never heard of.
SELECT
    coalesce(r.epoch, 0) AS epoch,
    EXISTS (SELECT FROM record WHERE did = $1) AS held,
    r.floor_rev, r.scoped_rev, r.scoped_cutoff,
    coalesce(r.floor_collections, '') AS floor_collections,
    coalesce(r.scoped_collections, '') AS scoped_collections,
    coalesce(s.opted_out, false) AS opted_out
FROM (SELECT $1::text AS did) AS asked
LEFT JOIN repo AS r USING (did)
LEFT JOIN account_setting AS s USING (did);
