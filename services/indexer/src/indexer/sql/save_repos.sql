-- What a transaction decided about its locked repos: $1 a JSON array of them.
UPDATE repo AS r SET
    epoch = s.epoch, written = s.written, floor_rev = s.floor_rev, swept_rev = s.swept_rev, rev = s.rev, data = s.data,
    handle = s.handle, pds = s.pds, status = s.status, scoped_rev = s.scoped_rev,
    snapshot_job = s.snapshot_job, snapshot_attempt = s.snapshot_attempt, snapshot_rev = s.snapshot_rev,
    snapshot_whole = s.snapshot_whole, snapshot_fresh = s.snapshot_fresh,
    last_backfill_days = s.last_backfill_days, void_rev = s.void_rev, purging = s.purging,
    rev_by_replay = s.rev_by_replay, sync_state = s.sync_state, desync_reason = s.desync_reason,
    desync_rev = s.desync_rev, gap_rev = s.gap_rev, gap_data = s.gap_data, gap_since = s.gap_since,
    gap_prev_data = s.gap_prev_data, earlier_since = s.earlier_since, earlier_prev_data = s.earlier_prev_data,
    resync_tries = s.resync_tries, floor_collections = s.floor_collections,
    scoped_collections = s.scoped_collections,
    scoped_cutoff = timestamptz 'epoch' + s.scoped_cutoff * interval '1 microsecond',
    last_backfill_at = timestamptz 'epoch' + s.last_backfill_at * interval '1 microsecond',
    status_at = timestamptz 'epoch' + s.status_at * interval '1 microsecond',
    identity_at = timestamptz 'epoch' + s.identity_at * interval '1 microsecond',
    tracked_from = timestamptz 'epoch' + s.tracked_from * interval '1 microsecond',
    desync_at = timestamptz 'epoch' + s.desync_at * interval '1 microsecond',
    resync_filed_at = timestamptz 'epoch' + s.resync_filed_at * interval '1 microsecond',
    resync_at = timestamptz 'epoch' + s.resync_at * interval '1 microsecond',
    opted_out = s.opted_out, incomplete = s.incomplete,
    excluded = ARRAY(SELECT jsonb_array_elements_text(s.excluded)),
    purging_collections = ARRAY(SELECT jsonb_array_elements_text(s.purging_collections)),
    updated_at = now()
FROM jsonb_to_recordset($1::jsonb) AS s (
    did text, epoch integer, written boolean, floor_rev text, swept_rev text, rev text, data text, handle text,
    pds text, status text, scoped_rev text, scoped_cutoff bigint, snapshot_job text, snapshot_attempt integer,
    snapshot_rev text, snapshot_whole boolean, snapshot_fresh boolean, last_backfill_at bigint,
    last_backfill_days integer, status_at bigint, identity_at bigint, tracked_from bigint, void_rev text,
    purging boolean, rev_by_replay boolean, sync_state text, desync_reason text, desync_rev text, desync_at bigint,
    gap_rev text, gap_data text, gap_since text, gap_prev_data text, earlier_since text,
    earlier_prev_data text, resync_tries integer, resync_filed_at bigint,
    resync_at bigint, floor_collections text, scoped_collections text,
    opted_out boolean, incomplete boolean, excluded jsonb, purging_collections jsonb
)
WHERE r.did = s.did;
