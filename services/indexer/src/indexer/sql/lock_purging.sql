-- One account whose rows are to go, locked against writers; no row when none is left. No parameters.
SELECT did, void_rev FROM repo WHERE purging ORDER BY did LIMIT 1 FOR UPDATE SKIP LOCKED;
