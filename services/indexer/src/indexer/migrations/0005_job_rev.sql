-- A job that is told again, or whose worker had begun anew when it was done, still says what it has brought.

ALTER TABLE backfill_job ADD COLUMN rev text COLLATE "C";
COMMENT ON COLUMN backfill_job.rev IS 'the rev of the repo that the job has brought, or found unchanged';
