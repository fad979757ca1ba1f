-- What the firehose says of a repo: whether we are in step with it, and what became of the account.

ALTER TABLE repo
    ADD COLUMN status_at          timestamptz,
    ADD COLUMN identity_at        timestamptz,
    ADD COLUMN tracked_from       timestamptz,
    ADD COLUMN void_rev           text COLLATE "C",
    ADD COLUMN purging            boolean NOT NULL DEFAULT false,
    ADD COLUMN rev_by_replay      boolean NOT NULL DEFAULT false,
    ADD COLUMN sync_state         text    NOT NULL DEFAULT 'synchronized',
    ADD COLUMN desync_reason      text,
    ADD COLUMN desync_rev         text COLLATE "C",
    ADD COLUMN desync_at          timestamptz,
    ADD COLUMN gap_rev            text COLLATE "C",
    ADD COLUMN gap_data           text COLLATE "C",
    ADD COLUMN gap_since          text COLLATE "C",
    ADD COLUMN gap_prev_data      text COLLATE "C",
    ADD COLUMN resync_tries       integer NOT NULL DEFAULT 0,
    ADD COLUMN resync_filed_at    timestamptz,
    ADD COLUMN resync_at          timestamptz,
    ADD COLUMN floor_collections  text    NOT NULL DEFAULT '',
    ADD COLUMN scoped_collections text    NOT NULL DEFAULT '';
COMMENT ON COLUMN repo.status_at IS 'when the status was said; what is older does not change it';
COMMENT ON COLUMN repo.identity_at IS 'when handle and PDS were said; what is older does not change them';
COMMENT ON COLUMN repo.tracked_from IS 'the oldest event of this repo that was followed; NULL: its events are not followed';
COMMENT ON COLUMN repo.void_rev IS 'live commits at or below it count no more: the account was deleted or not active after them';
COMMENT ON COLUMN repo.purging IS 'rows of the deleted account, at or below void_rev, are still there';
COMMENT ON COLUMN repo.rev_by_replay IS 'rev was last moved by the replay; what follows it may still be in the replay';
COMMENT ON COLUMN repo.sync_state IS 'synchronized, or desynchronized: something of the repo may be missing until a resync';
COMMENT ON COLUMN repo.desync_rev IS 'a snapshot at this rev or above makes the repo synchronized again';
COMMENT ON COLUMN repo.gap_rev IS 'the end of what is known below the one gap in the chain; gap_since and gap_prev_data are its other end';
COMMENT ON COLUMN repo.resync_at IS 'when the next resync may be asked for';
COMMENT ON COLUMN repo.floor_collections IS 'the filter (COLLECTIONS) of the snapshot that made the floor; empty is all';

-- Who was indexed before is followed from now on, as TRACK=all does it.
UPDATE repo SET tracked_from = now();

-- Both hold few rows, and no column of theirs changes with a live commit, so that those stay cheap.
CREATE INDEX repo_resync_at ON repo (resync_at) WHERE resync_at IS NOT NULL;
CREATE INDEX repo_purging ON repo (did) WHERE purging;
