-- After a snapshot with a cutoff: what the repo does not hold any more, inside the scope or not, is gone, with
-- tombstones at the snapshot's rev, as there is no floor. $1 did, $2 rev, $3 job id, $4 attempt. Also whether rows of
-- an older rev stay of which the snapshot brought the key alone: they came after the table was asked what it held.
WITH held AS MATERIALIZED (
    SELECT k.collection, k.rkey
    FROM snapshot_batch AS b, unnest(b.collection, b.rkey) AS k (collection, rkey)
    WHERE b.job_id = $3 AND b.attempt = $4
), gone AS (
    DELETE FROM record AS r
    WHERE r.did = $1 AND r.rev < $2
      AND NOT EXISTS (SELECT FROM held AS h WHERE h.collection = r.collection AND h.rkey = r.rkey)
    RETURNING r.collection, r.rkey
), marked AS (
    INSERT INTO tombstone (did, collection, rkey, rev)
    SELECT $1, collection, rkey, $2 FROM gone
    ON CONFLICT (did, collection, rkey) DO UPDATE SET rev = excluded.rev, deleted_at = now()
    WHERE tombstone.rev < excluded.rev
)
SELECT
    (SELECT count(*) FROM gone) AS deleted,
    EXISTS (
        SELECT FROM held AS h JOIN record AS r ON r.did = $1 AND r.collection = h.collection AND r.rkey = h.rkey
        WHERE r.rev < $2
    ) AS unconfirmed;
