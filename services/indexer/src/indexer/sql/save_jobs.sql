-- What a transaction decided about jobs: $1 a JSON array of them.
INSERT INTO backfill_job
    (job_id, did, attempt, state, batches, records, deleted, unchanged, lane, reason, detail, rev, rejected)
SELECT job_id, did, attempt, state, batches, records, deleted, unchanged, lane, reason, detail, rev,
       coalesce(rejected, '{}')
FROM jsonb_to_recordset($1::jsonb) AS s (
    job_id text, did text, attempt integer, state text, batches integer, records integer, deleted integer,
    unchanged boolean, lane text, reason text, detail text, rev text, rejected jsonb
)
ON CONFLICT (job_id) DO UPDATE SET
    attempt = excluded.attempt, state = excluded.state, batches = excluded.batches, records = excluded.records,
    deleted = excluded.deleted, unchanged = excluded.unchanged, lane = excluded.lane, reason = excluded.reason,
    detail = excluded.detail, rev = excluded.rev, rejected = excluded.rejected, updated_at = now();
