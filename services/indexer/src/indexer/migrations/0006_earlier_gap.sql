-- Where the chain of a repo begins, or commits have undone themselves, there is a gap that nobody misses; it must not be
-- forgotten over another one that is waited for.
ALTER TABLE repo
    ADD COLUMN earlier_since     text COLLATE "C",
    ADD COLUMN earlier_prev_data text COLLATE "C";
COMMENT ON COLUMN repo.earlier_since IS 'the end of a gap below the one of gap_rev and gap_since, of which nothing is missed; with the root there';
