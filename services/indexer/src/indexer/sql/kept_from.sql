-- What says from when on the table is to hold an account's records: $1 did. No row for one never heard of.
SELECT floor_rev, scoped_cutoff, tracked_from FROM repo WHERE did = $1;
