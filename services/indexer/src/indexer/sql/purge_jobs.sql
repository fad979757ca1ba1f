-- Forgets some jobs that ended long ago: $1 microseconds since 1970, $2 how many.
DELETE FROM backfill_job WHERE job_id IN (
    SELECT job_id FROM backfill_job
    WHERE updated_at < $1 AND state IN ('done', 'failed', 'cancelled')
    LIMIT $2
);
