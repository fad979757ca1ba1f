-- Makes room for other rows within a transaction.
TRUNCATE staged;
