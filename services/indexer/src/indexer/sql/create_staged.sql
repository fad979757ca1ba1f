-- The rows of a transaction before they meet the table. One a session; it is empty at every commit.
CREATE TEMPORARY TABLE IF NOT EXISTS staged (
    did        text        COLLATE "C" NOT NULL,
    collection text        COLLATE "C" NOT NULL,
    rkey       text        COLLATE "C" NOT NULL,
    cid        text        COLLATE "C" NOT NULL,
    rev        text        COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    subject    text        COLLATE "C",
    record     jsonb       NOT NULL,
    raw        bytea
) ON COMMIT DELETE ROWS;
