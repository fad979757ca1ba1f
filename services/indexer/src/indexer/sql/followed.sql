-- A page of the active accounts that are followed, by DID: $1 the DID to go on behind, $2 how many.
SELECT r.did FROM repo AS r
WHERE r.did > $1 AND r.status = 'active' AND r.tracked_from IS NOT NULL AND NOT r.opted_out
ORDER BY r.did LIMIT $2;
