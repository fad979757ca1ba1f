-- A person waits for the answer: give up on a lock before they do. Until the end of the transaction.
SET LOCAL lock_timeout = '4s';
