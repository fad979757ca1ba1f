-- Forgets the batches of attempts that have ended: $1 job ids, $2 the attempts at or below which.
DELETE FROM snapshot_batch AS b USING unnest($1::text[], $2::integer[]) AS e (job_id, attempt)
WHERE b.job_id = e.job_id AND b.attempt <= e.attempt;
