-- After a snapshot of the whole repo: what it does not hold is gone. $1 did, $2 rev, $3 job id, $4 attempt.
-- No tombstones: operations at or below the floor are dropped from now on.
WITH held AS MATERIALIZED (
    SELECT k.collection, k.rkey
    FROM snapshot_batch AS b, unnest(b.collection, b.rkey) AS k (collection, rkey)
    WHERE b.job_id = $3 AND b.attempt = $4
), gone AS (
    DELETE FROM record AS r
    WHERE r.did = $1 AND r.rev < $2
      AND NOT EXISTS (SELECT FROM held AS h WHERE h.collection = r.collection AND h.rkey = r.rkey)
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS deleted, false AS unconfirmed;
