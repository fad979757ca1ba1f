-- For the sweep alone, which compares two long lists of one repo. Until the end of the transaction.
SET LOCAL enable_hashjoin = on;
