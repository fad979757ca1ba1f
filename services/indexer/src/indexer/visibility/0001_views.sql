-- Every collection's view leaves out who opted out, and the collections that an account excludes. What an account
-- declares about recommendations becomes a column of its view.
DO $$
DECLARE
    shown record;
BEGIN
    FOR shown IN
        SELECT viewname, definition FROM pg_views
        WHERE schemaname = current_schema() AND definition LIKE '%(a.status = ''active''::text)%'
    LOOP
        EXECUTE format('CREATE OR REPLACE VIEW %I AS %s', shown.viewname, replace(
            rtrim(shown.definition, ';'),
            '(a.status = ''active''::text)',
            '(a.status = ''active''::text AND NOT a.opted_out AND NOT (r.collection = ANY (a.excluded)))'
        ));
    END LOOP;
END
$$;

CREATE OR REPLACE VIEW "content_visibility_declaration" AS
SELECT
    r.did,
    r.rkey,
    'at://' || r.did || '/app.bsky.actor.contentVisibilityDeclaration/' || r.rkey AS uri,
    r.cid,
    r.rev,
    r.created_at,
    r.record,
    r.indexed_at,
    coalesce(jsonb_boolean(r.record -> 'hideFromAlgorithmicRecommendations'), false) AS hide_from_recommendations
FROM record_content_visibility_declaration AS r JOIN repo AS a USING (did)
WHERE a.status = 'active' AND NOT a.opted_out AND NOT (r.collection = ANY (a.excluded));

-- Whether an account's records may be recommended by an algorithm. Whoever builds a feed on these tables asks here.
-- A missing record means yes, as the lexicon says.
CREATE FUNCTION may_be_recommended(account text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT NOT EXISTS (
            SELECT FROM content_visibility_declaration AS d
            WHERE d.did = account AND d.rkey = 'self' AND d.hide_from_recommendations
        );
    END;
