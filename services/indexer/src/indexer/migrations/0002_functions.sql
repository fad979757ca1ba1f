-- What views are made of. A record is a stranger's JSON: each function answers NULL where the value has another type
-- or is out of range, and none of them ever fails.

CREATE FUNCTION jsonb_text(value jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN jsonb_typeof(value) = 'string' THEN value #>> '{}' END;

CREATE FUNCTION jsonb_integer(value jsonb) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN jsonb_typeof(value) <> 'number' THEN NULL
        WHEN value::numeric NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN NULL
        WHEN value::numeric = trunc(value::numeric) THEN value::numeric::bigint
    END;

CREATE FUNCTION jsonb_boolean(value jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN jsonb_typeof(value) = 'boolean' THEN value::boolean END;

CREATE FUNCTION jsonb_list(value jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN jsonb_typeof(value) = 'array' THEN value END;

-- The strings of an array, in order; other elements are left out.
CREATE FUNCTION jsonb_texts(value jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN jsonb_typeof(value) = 'array' THEN ARRAY(
        SELECT item #>> '{}' FROM jsonb_array_elements(value) AS item WHERE jsonb_typeof(item) = 'string'
    ) END;

-- A datetime as AT Protocol writes it; words such as "now" and "infinity" are not times.
CREATE FUNCTION jsonb_time(value jsonb) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN jsonb_typeof(value) = 'string'
            AND value #>> '{}' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,20})?(Z|[+-]\d\d:\d\d)$'
            AND pg_input_is_valid(value #>> '{}', 'timestamptz')
        THEN (value #>> '{}')::timestamptz
    END;

-- The CID of a blob, in its present form and in the one of 2022.
CREATE FUNCTION jsonb_blob_cid(value jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(jsonb_text(value #> '{ref,$link}'), jsonb_text(value -> 'cid'));

-- What subjects are indexed by. Four bytes instead of a whole AT URI make the index a fifth of the size, a third of the
-- cost to write, and indifferent to how long a stranger's URI is. Ask by key and subject, or with records_about.
CREATE FUNCTION subject_key(subject text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN hashtext(subject);

-- One index for every partition, also of collections to come; it costs nothing where records have no subject.
CREATE INDEX record_subject ON record (subject_key(subject)) WHERE subject IS NOT NULL;

-- Every record that points at a record or an account: its likes, reposts, replies, follows, blocks and so on.
CREATE FUNCTION records_about(target text) RETURNS SETOF public.record
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT * FROM public.record AS r WHERE subject_key(r.subject) = subject_key(target) AND r.subject = target;
    END;

-- Gives a collection a partition of its own, and moves there what the default partition holds of it.
CREATE PROCEDURE create_record_partition(partition_name text, nsid text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE record INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition_name);
    EXECUTE format(
        'WITH moved AS (DELETE FROM record_other WHERE collection = %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
        nsid, partition_name
    );
    EXECUTE format('ALTER TABLE record ATTACH PARTITION %I FOR VALUES IN (%L)', partition_name, nsid);
END
$$;
