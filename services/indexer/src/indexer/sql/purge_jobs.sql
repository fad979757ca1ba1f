-- Forgets some jobs that ended long ago: $1 microseconds since 1970, $2 how many, $3 the first id that a job of then can
-- have. Ids sort by time, so what is younger is not looked at.
DELETE FROM backfill_job WHERE job_id IN (
    SELECT job_id FROM backfill_job
    WHERE job_id < $3 AND updated_at < $1 AND state IN ('done', 'failed', 'cancelled')
    LIMIT $2
);
