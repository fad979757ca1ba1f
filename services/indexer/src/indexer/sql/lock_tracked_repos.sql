-- As lock_repos, of those alone whose events are followed: $1 dids. The others cost a look at an index.
SELECT r.did, r.epoch, r.written, r.floor_rev, r.swept_rev, r.rev, r.data, r.handle, r.pds, r.status,
       r.scoped_rev, r.scoped_cutoff, r.snapshot_job, r.snapshot_attempt, r.snapshot_rev, r.snapshot_whole,
       r.snapshot_fresh, r.last_backfill_at, r.last_backfill_days, r.status_at, r.identity_at, r.tracked_from,
       r.void_rev, r.purging, r.rev_by_replay, r.sync_state, r.desync_reason, r.desync_rev, r.desync_at, r.gap_rev,
       r.gap_data, r.gap_since, r.gap_prev_data, r.resync_tries, r.resync_filed_at, r.resync_at, r.floor_collections,
       r.scoped_collections, r.opted_out, r.excluded, r.purging_collections, r.incomplete,
       r.earlier_since, r.earlier_prev_data
FROM repo AS r
WHERE r.did = ANY ($1::text[]) AND r.tracked_from IS NOT NULL
ORDER BY r.did
FOR UPDATE OF r;
