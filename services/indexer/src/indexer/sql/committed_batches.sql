-- Which batches of running attempts are committed already: $1 job ids, $2 attempts, $3 batch numbers.
SELECT b.job_id, b.attempt, b.batch
FROM unnest($1::text[], $2::integer[], $3::integer[]) AS w (job_id, attempt, batch)
JOIN snapshot_batch AS b USING (job_id, attempt, batch);
