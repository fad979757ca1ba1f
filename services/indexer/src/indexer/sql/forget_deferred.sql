-- Deferred commits of accounts that were deleted: $1 dids.
DELETE FROM deferred_commit WHERE did = ANY ($1::text[]);
