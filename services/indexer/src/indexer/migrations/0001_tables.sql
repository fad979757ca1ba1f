-- The tables. Identifiers collate "C": they are ASCII, compared byte by byte, and revs sort by time that way.

-- The one truth: every record of every repo, the highest rev of each key.
CREATE TABLE record (
    did        text        COLLATE "C" NOT NULL,
    collection text        COLLATE "C" NOT NULL,
    rkey       text        COLLATE "C" NOT NULL,
    cid        text        COLLATE "C" NOT NULL,
    rev        text        COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    subject    text        COLLATE "C",
    record     jsonb       NOT NULL,
    raw        bytea,
    indexed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (did, collection, rkey)
) PARTITION BY LIST (collection);
COMMENT ON TABLE record IS 'Every record; the highest rev of a key wins. One partition per known collection.';
COMMENT ON COLUMN record.cid IS 'CID of the record''s block, base32';
COMMENT ON COLUMN record.rev IS 'the commit that wrote this row, or the snapshot that confirmed it';
COMMENT ON COLUMN record.created_at IS 'effective time: the least of createdAt, the time in the rkey and the time of reading';
COMMENT ON COLUMN record.subject IS 'whom or what the record points at; ask with records_about, or by subject_key(subject) and subject';
COMMENT ON COLUMN record.raw IS 'the original block, for the few records whose value JSON in Postgres cannot hold (U+0000)';

CREATE TABLE record_other PARTITION OF record DEFAULT;

-- One row per account: who it is, and how far the table holds its repo.
CREATE TABLE repo (
    did                text        COLLATE "C" PRIMARY KEY,
    handle             text,
    pds                text,
    status             text        NOT NULL DEFAULT 'active',
    rev                text        COLLATE "C",
    data               text        COLLATE "C",
    epoch              integer     NOT NULL DEFAULT 0,
    written            boolean     NOT NULL DEFAULT false,
    floor_rev          text        COLLATE "C",
    swept_rev          text        COLLATE "C",
    scoped_rev         text        COLLATE "C",
    scoped_cutoff      timestamptz,
    snapshot_job       text,
    snapshot_attempt   integer,
    snapshot_rev       text        COLLATE "C",
    snapshot_whole     boolean     NOT NULL DEFAULT false,
    snapshot_fresh     boolean     NOT NULL DEFAULT false,
    last_backfill_at   timestamptz,
    last_backfill_days integer,
    updated_at         timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
COMMENT ON COLUMN repo.epoch IS 'raised when the account''s rows are deleted; jobs begun before carry the older one';
COMMENT ON COLUMN repo.written IS 'whether a row or tombstone of this repo was ever written';
COMMENT ON COLUMN repo.floor_rev IS 'a snapshot of the whole repo was swept at this rev: what is at or below it is in the table';
COMMENT ON COLUMN repo.swept_rev IS 'the newest rev at which any snapshot was swept; older snapshots must not write';
COMMENT ON COLUMN repo.snapshot_job IS 'the job whose snapshot is being written; a newer one takes its place';
COMMENT ON COLUMN repo.snapshot_fresh IS 'nobody else has ever written to this repo, so its batches cannot collide';

-- What a delete leaves behind, so that an older create which comes later loses.
CREATE TABLE tombstone (
    did        text        COLLATE "C" NOT NULL,
    collection text        COLLATE "C" NOT NULL,
    rkey       text        COLLATE "C" NOT NULL,
    rev        text        COLLATE "C" NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (did, collection, rkey)
);
CREATE INDEX tombstone_deleted_at ON tombstone USING brin (deleted_at);

-- The indexer's side of every job; ``batches`` and ``records`` count what this attempt has committed.
CREATE TABLE backfill_job (
    job_id      text        PRIMARY KEY,
    did         text        COLLATE "C" NOT NULL,
    attempt     integer     NOT NULL,
    state       text        NOT NULL,
    batches     integer     NOT NULL DEFAULT 0,
    records     integer     NOT NULL DEFAULT 0,
    deleted     integer     NOT NULL DEFAULT 0,
    unchanged   boolean     NOT NULL DEFAULT false,
    lane        text,
    reason      text,
    detail      text,
    rejected    jsonb       NOT NULL DEFAULT '{}',
    started_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX backfill_job_did ON backfill_job (did, started_at DESC);

-- The batches that a running attempt has committed: a redelivered one is known by its number. The keys are what the
-- sweep must not take for vanished; they are empty where the rows themselves, all at the snapshot's rev, say it.
CREATE TABLE snapshot_batch (
    job_id     text    NOT NULL,
    attempt    integer NOT NULL,
    batch      integer NOT NULL,
    collection text[]  NOT NULL,
    rkey       text[]  NOT NULL,
    PRIMARY KEY (job_id, attempt, batch)
);

-- Live commits at or below the rev of a whole snapshot that is being written: in it if it completes, applied if not.
CREATE TABLE deferred_commit (
    did     text  COLLATE "C" NOT NULL,
    rev     text  COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (did, rev)
);

-- What accounts asked for.
CREATE TABLE account_setting (
    did        text        COLLATE "C" PRIMARY KEY,
    opted_out  boolean     NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now()
);
