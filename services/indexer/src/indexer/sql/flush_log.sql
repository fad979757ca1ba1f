-- Puts the log on disk, and with it every transaction that was committed before: an empty message, of which nobody but
-- the log hears, committed by a session that waits for its own flush.
SELECT pg_logical_emit_message(true, 'headwater', '');
