-- Locks partitions for the session, those that no other session holds: $1 partitions. 0x4877 keeps the keys apart.
SELECT w.partition FROM unnest($1::integer[]) AS w (partition)
WHERE pg_try_advisory_lock(x'4877'::integer, w.partition);
