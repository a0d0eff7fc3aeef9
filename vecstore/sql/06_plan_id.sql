-- When was this plan made? The planner evaluates an immutable function, and so a prepared statement gives the same answer
-- until the server plans it anew: which it does when a relation in it has changed its structure, and never sooner than it
-- must. Nothing that is cheaper can tell: docs/decisions/0015-one-round-trip.md.
CREATE FUNCTION vecstore._plan_id() RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_catalog.gen_random_uuid()
$$;


COMMENT ON FUNCTION vecstore._plan_id() IS 'Of a prepared statement, another value for each plan; immutable on purpose';
