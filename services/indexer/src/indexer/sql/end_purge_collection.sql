-- An excluded collection of which no row is left: $1 did, $2 collection.
UPDATE repo SET purging_collections = array_remove(purging_collections, $2), updated_at = now() WHERE did = $1;
