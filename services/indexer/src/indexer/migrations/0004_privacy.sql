-- What accounts asked for stands in their own row of repo, which every writer locks: a row beside it would be read as
-- it was before the lock was waited for, and a commit could slip in after the account had opted out.

ALTER TABLE repo
    ADD COLUMN opted_out            boolean NOT NULL DEFAULT false,
    ADD COLUMN excluded             text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN purging_collections  text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN incomplete           boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN repo.opted_out IS 'the account does not want to be indexed: nothing is written, and views leave it out';
COMMENT ON COLUMN repo.excluded IS 'collections that the account keeps out of the table';
COMMENT ON COLUMN repo.purging_collections IS 'excluded collections of which rows are still there';
COMMENT ON COLUMN repo.incomplete IS 'a collection was let in again: the floor does not speak for it until a snapshot of the whole repo';

INSERT INTO repo (did, opted_out) SELECT did, opted_out FROM account_setting
ON CONFLICT (did) DO UPDATE SET opted_out = excluded.opted_out;
DROP TABLE account_setting;

CREATE INDEX repo_purging_collections ON repo (did) WHERE purging_collections <> '{}';

-- An account's newest records of a collection, without a look at anybody else's. Four bytes for the DID, as subjects
-- have it: an eighth of the size of the DID itself.
CREATE FUNCTION did_key(did text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN hashtext(did);
CREATE INDEX record_newest ON record (did_key(did), created_at);
