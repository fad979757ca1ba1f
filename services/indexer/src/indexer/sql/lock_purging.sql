-- One account whose rows are to go, locked against writers; no row when none is left. No parameters. Of an account that
-- wants none of its data here all rows go, also those that are newer than our clock.
SELECT did, CASE WHEN opted_out THEN '~' ELSE void_rev END AS void_rev FROM repo
WHERE purging ORDER BY did LIMIT 1 FOR UPDATE SKIP LOCKED;
