-- How the table has many accounts: $1 dids. Those that it does not know are left out.
SELECT r.did, r.status, r.tracked_from IS NOT NULL AS followed FROM repo AS r WHERE r.did = ANY ($1::text[]);
