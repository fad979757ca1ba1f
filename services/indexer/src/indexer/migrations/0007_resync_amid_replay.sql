-- As long as the replay is under way, repos that it may still complete are many, and none of them is asked for: those
-- that are asked for must be found without a look at the others.
CREATE INDEX repo_resync_amid_replay ON repo (resync_at)
    WHERE resync_at IS NOT NULL AND desync_reason NOT IN ('awaits_replay', 'late');
