"""The firehose-backfill service: follows the relays."""
