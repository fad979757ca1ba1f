-- A deleted account of which no row is left: $1 did.
UPDATE repo SET purging = false, updated_at = now() WHERE did = $1;
