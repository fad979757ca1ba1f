-- Resyncs that could not be asked for, as the bus was away: $1 dids, $2 when to try again, microseconds since 1970.
UPDATE repo SET
    resync_tries = greatest(resync_tries - 1, 0),
    resync_at = timestamptz 'epoch' + $2::bigint * interval '1 microsecond'
WHERE did = ANY ($1::text[]) AND resync_at IS NOT NULL;
