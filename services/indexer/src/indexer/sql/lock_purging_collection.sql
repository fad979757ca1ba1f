-- One account that has excluded a collection of which rows are left, locked against writers. No parameters.
SELECT did, purging_collections[1] AS collection FROM repo WHERE purging_collections <> '{}'
ORDER BY did LIMIT 1 FOR UPDATE SKIP LOCKED;
