-- An account's settings and the state of its repo: $1 did. One row, also for one never heard of.
SELECT
    r.handle, r.pds, coalesce(r.status, 'unknown') AS status,
    greatest(r.rev, r.swept_rev) AS rev, r.last_backfill_at, r.last_backfill_days,
    coalesce(r.sync_state, 'unknown') AS sync_state, r.desync_reason, r.tracked_from,
    coalesce(r.opted_out, false) AS opted_out, coalesce(r.excluded, '{}') AS excluded,
    coalesce(r.purging OR r.purging_collections <> '{}', false) AS deleting, coalesce(r.incomplete, false) AS incomplete,
    r.floor_rev, may_be_recommended($1) AS may_be_recommended
FROM (SELECT $1::text AS did) AS asked
LEFT JOIN repo AS r USING (did);
