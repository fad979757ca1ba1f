-- What repo-backfill asks before it fetches: $1 dids. A row each, also for a repo never heard of. What was swept before a
-- collection was let in again saves no fetch. Neither does the scope of a snapshot while the repo is out of step: rows
-- may have come from outside of it that only another one sweeps.
SELECT
    asked.did,
    coalesce(r.epoch, 0) AS epoch,
    coalesce(r.written, false) AS held,
    CASE WHEN NOT r.incomplete THEN r.floor_rev END AS floor_rev,
    CASE WHEN NOT r.incomplete THEN r.scoped_rev END AS scoped_rev,
    CASE WHEN r.sync_state = 'synchronized' THEN r.scoped_cutoff END AS scoped_cutoff,
    coalesce(r.floor_collections, '') AS floor_collections,
    coalesce(r.scoped_collections, '') AS scoped_collections,
    coalesce(r.opted_out, false) AS opted_out
FROM unnest($1::text[]) AS asked (did)
LEFT JOIN repo AS r USING (did);
