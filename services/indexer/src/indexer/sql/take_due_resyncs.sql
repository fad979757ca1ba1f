-- Desynchronized repos whose resync is due, noted as asked for: $1 now in microseconds since 1970, $2 how many, $3
-- the seconds from each try to the next (an array, its last element for all further ones), $4 whether to leave those
-- alone that the replay may still complete, or add to. Of the first two parts one is carried out; each has an index.
WITH due AS (
    SELECT r.did FROM repo AS r
    WHERE $4::boolean AND r.resync_at <= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
      AND r.desync_reason NOT IN ('awaits_replay', 'late')
      AND r.sync_state = 'desynchronized' AND r.status = 'active' AND NOT r.opted_out
    ORDER BY r.resync_at LIMIT $2
    FOR UPDATE OF r SKIP LOCKED
), due_without_replay AS (
    SELECT r.did FROM repo AS r
    WHERE NOT $4::boolean AND r.resync_at <= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
      AND r.sync_state = 'desynchronized' AND r.status = 'active' AND NOT r.opted_out
    ORDER BY r.resync_at LIMIT $2
    FOR UPDATE OF r SKIP LOCKED
)
UPDATE repo AS r SET
    resync_tries = r.resync_tries + 1,
    resync_filed_at = timestamptz 'epoch' + $1::bigint * interval '1 microsecond',
    resync_at = timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
        + ($3::bigint[])[least(r.resync_tries + 1, cardinality($3::bigint[]))] * interval '1 second'
FROM (SELECT did FROM due UNION ALL SELECT did FROM due_without_replay) AS taken
WHERE r.did = taken.did
RETURNING r.did, r.floor_rev, r.scoped_cutoff, r.tracked_from;
