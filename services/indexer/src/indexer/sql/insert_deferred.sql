-- Live commits that wait for the end of a whole snapshot: $1 dids, $2 revs, $3 payloads.
INSERT INTO deferred_commit (did, rev, payload)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[])
ON CONFLICT (did, rev) DO NOTHING;
