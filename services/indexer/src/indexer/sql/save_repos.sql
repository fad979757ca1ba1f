-- What a transaction decided about its locked repos: $1 a JSON array of them.
UPDATE repo AS r SET
    written = s.written, floor_rev = s.floor_rev, swept_rev = s.swept_rev, rev = s.rev, data = s.data,
    handle = s.handle, pds = s.pds, status = s.status,
    scoped_rev = s.scoped_rev,
    scoped_cutoff = timestamptz 'epoch' + s.scoped_cutoff * interval '1 microsecond',
    snapshot_job = s.snapshot_job, snapshot_attempt = s.snapshot_attempt, snapshot_rev = s.snapshot_rev,
    snapshot_whole = s.snapshot_whole, snapshot_fresh = s.snapshot_fresh,
    last_backfill_at = timestamptz 'epoch' + s.last_backfill_at * interval '1 microsecond',
    last_backfill_days = s.last_backfill_days,
    updated_at = now()
FROM jsonb_to_recordset($1::jsonb) AS s (
    did text, written boolean, floor_rev text, swept_rev text, rev text, data text, handle text, pds text, status text,
    scoped_rev text, scoped_cutoff bigint, snapshot_job text, snapshot_attempt integer, snapshot_rev text,
    snapshot_whole boolean, snapshot_fresh boolean, last_backfill_at bigint, last_backfill_days integer
)
WHERE r.did = s.did;
