-- How many repos are out of step and will be asked for. No parameters; over the index of those alone.
SELECT count(*) FROM repo WHERE resync_at IS NOT NULL;
