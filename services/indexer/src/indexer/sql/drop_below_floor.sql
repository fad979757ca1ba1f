-- Tombstones at or below a raised floor, which no late operation can pass any more: $1 dids, $2 floors.
DELETE FROM tombstone AS t USING unnest($1::text[], $2::text[]) AS f (did, floor)
WHERE t.did = f.did AND t.rev <= f.floor;
