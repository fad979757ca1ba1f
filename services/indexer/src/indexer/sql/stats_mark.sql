-- What changes when figures that were counted before say too much or too little of an account: $1 did. One row, also for
-- one never heard of. Live commits do not change it.
SELECT concat_ws(' ', r.epoch, r.purging, r.opted_out, r.excluded, r.last_backfill_at, r.swept_rev) AS mark
FROM (SELECT $1::text AS did) AS asked
LEFT JOIN repo AS r USING (did);
