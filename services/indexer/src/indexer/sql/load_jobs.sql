-- The indexer's side of jobs: $1 job ids. Their repos are locked, so nobody else changes them.
SELECT job_id, did, attempt, state, batches, records, deleted, unchanged, lane, reason, detail,
       rev, rejected::text AS rejected
FROM backfill_job
WHERE job_id = ANY ($1::text[]);
