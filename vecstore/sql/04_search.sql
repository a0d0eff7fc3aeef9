-- What a filter asks, as a condition on t: of each key that is a field, equality, or one of a list; of JSON and arrays,
-- that they contain the value; of every other key, that the dynamic field has it. The values stay in $2: text of the
-- caller becomes part of the statement only as a quoted literal, the name of a key that is there.
CREATE FUNCTION vecstore._condition(entities oid, collection text, filter jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text;
    value jsonb;
    field record;
    wanted text;
    listed jsonb;
    odd text;
    conditions text[] := '{}';
    dynamic boolean := EXISTS (SELECT FROM pg_catalog.pg_attribute a
                               WHERE a.attrelid = entities AND a.attname = '_meta' AND NOT a.attisdropped);
BEGIN
    IF jsonb_typeof(filter) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('filter must be a JSON object, got a JSON %s', jsonb_typeof(filter)),
            HINT = 'filter => ''{"field": "value", "other": [1, 2]}''; all else is a plain SELECT with WHERE.';
    END IF;
    FOR key, value IN SELECT * FROM jsonb_each(coalesce(filter, '{}')) LOOP
        SELECT f.data_type, f.column_type INTO field
        FROM vecstore.fields f WHERE f.collection = _condition.collection AND f.name = key;
        IF NOT found AND dynamic THEN
            conditions := conditions || format('t._meta @> jsonb_build_object(%1$L, $2 -> %1$L)', key);
            CONTINUE;
        END IF;
        wanted := CASE
            WHEN NOT found OR field.data_type LIKE '%\_VECTOR' THEN 'nothing'
            WHEN field.data_type IN ('JSON', 'ARRAY') THEN 'any'
            WHEN field.data_type = 'BOOL' THEN 'boolean'
            WHEN field.data_type IN ('VARCHAR', 'TEXT', 'TIMESTAMPTZ') THEN 'string'
            ELSE 'number' END;
        IF wanted = 'nothing' THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_column',
                MESSAGE = format('filter: collection %L has no field %L to compare', collection, key),
                HINT = format('SELECT name, data_type FROM vecstore.fields WHERE collection = %L lists the fields.',
                              collection);
        END IF;
        listed := CASE jsonb_typeof(value) WHEN 'array' THEN value ELSE jsonb_build_array(value) END;
        SELECT min(jsonb_typeof(one)) INTO odd
        FROM jsonb_array_elements(listed) AS e (one) WHERE jsonb_typeof(one) NOT IN (wanted, 'null');
        IF wanted <> 'any' AND odd IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'datatype_mismatch',
                MESSAGE = format('filter: field %L is %s and is compared with a JSON %s, got a JSON %s',
                                 key, field.data_type, wanted, odd);
        ELSIF field.data_type <> 'JSON' AND value <> 'null' THEN
            BEGIN
                EXECUTE format('SELECT ARRAY(SELECT e FROM jsonb_array_elements_text($1) e)::%s%s',
                               field.column_type, CASE field.data_type WHEN 'ARRAY' THEN '' ELSE '[]' END)
                USING listed;
            EXCEPTION WHEN data_exception THEN
                RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                    MESSAGE = format('filter: field %L is %s, which does not hold %s', key, field.column_type, value),
                    DETAIL = SQLERRM;
            END;
        END IF;
        conditions := conditions || CASE
            WHEN jsonb_typeof(value) = 'null' THEN format('t.%I IS NULL', key)
            WHEN field.data_type = 'JSON' THEN format('t.%I @> ($2 -> %L)', key, key)
            WHEN field.data_type = 'ARRAY' THEN format(
                't.%I @> ARRAY(SELECT e FROM jsonb_array_elements_text(CASE jsonb_typeof($2 -> %2$L) WHEN ''array'''
                ' THEN $2 -> %2$L ELSE jsonb_build_array($2 -> %2$L) END) e)::%3$s', key, key, field.column_type)
            WHEN jsonb_typeof(value) = 'array' THEN format(
                't.%I = ANY (ARRAY(SELECT e::%3$s FROM jsonb_array_elements_text($2 -> %2$L) e))',
                key, key, field.column_type)
            ELSE format('t.%I = ($2 ->> %L)::%s', key, key, field.column_type) END;
    END LOOP;
    RETURN coalesce(nullif(array_to_string(conditions, ' AND '), ''), 'true');
END
$$;


-- The vector to search with, in the column's type; an error says what the field needs.
CREATE PROCEDURE vecstore._check_query(query text, field text, column_type text, dim int, operator text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    to_itself float8;
BEGIN
    BEGIN
        EXECUTE format('SELECT $1::%1$s %2$s $1::%1$s', column_type, operator) INTO to_itself USING query;
    EXCEPTION WHEN data_exception THEN
        NULL;
    END;
    -- A bit string that is too short is filled up, one that is too long is cut: both without a word.
    IF to_itself IS NULL OR column_type LIKE 'bit(%' AND length(query) <> dim THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('query is no vector for field %L, which is %s', field, column_type),
            HINT = CASE
                WHEN column_type LIKE 'bit(%' THEN format('Expected a text of %s zeros and ones.', dim)
                WHEN column_type LIKE '%sparsevec(%' THEN format('Expected ''{1:0.5,7:2}/%s'', counted from 1.', dim)
                ELSE format('Expected ''[0.1,0.2,...]'' of %s numbers.', dim) END;
    ELSIF to_itself = 'NaN' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('query: a vector of length zero, or of one that single precision does not hold, has no '
                             'direction, which COSINE of field %L compares', field);
    END IF;
END
$$;


-- The index to ask, and how: ef or probes, and whether to go on to further candidates until enough rows match. All NULL
-- where comparing every matching row costs no more. The figures are those of vecstore/planning.py.
CREATE FUNCTION vecstore._plan(
    entities oid, collection text, field text, metric text, k int, matching text, query text, filter jsonb,
    is_filtered boolean, OUT half_precision boolean, OUT settings text[]
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    index record;
    plan json;
    expected float8;
    leaves int;
    rows float8;
    wanted float8;
    ef float8;
    lists float8;
BEGIN
    SELECT i.method, i.half_precision, i.options INTO index
    FROM vecstore.indexes i
    WHERE i.collection = _plan.collection AND i.field = _plan.field AND i.metric = _plan.metric AND i.state = 'ready'
    ORDER BY i.method LIMIT 1;
    IF NOT found THEN
        RETURN;
    END IF;
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || matching INTO plan USING query, filter;
    expected := (plan -> 0 -> 'Plan' ->> 'Plan Rows')::float8;
    leaves := greatest(1, regexp_count(plan::text, '"Relation Name"'));
    SELECT greatest(1, sum(greatest(l.reltuples, pg_stat_get_live_tuples(l.oid)))) INTO rows
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class l ON l.oid = i.inhrelid WHERE i.inhparent = entities;
    half_precision := index.half_precision;
    wanted := CASE WHEN half_precision THEN least(16384, 4 * k + 4) ELSE k END;
    IF index.method = 'ivfflat' THEN
        lists := coalesce(substring(array_to_string(index.options, ',') FROM 'lists=(\d+)')::float8, 100);
        IF expected > 1.5 * rows / sqrt(lists) THEN
            settings := ARRAY['ivfflat.probes', greatest(1, round(sqrt(lists)))::text,
                              'ivfflat.iterative_scan', 'relaxed_order'];
        END IF;
        RETURN;
    END IF;
    ef := wanted;
    IF is_filtered THEN
        ef := ceil((wanted + 3 * sqrt(wanted) + 3) / least(1, greatest(1, expected) / rows));
    END IF;
    ef := greatest(100, ef);
    IF leaves > 1 THEN
        ef := greatest(10, ceil(ef / sqrt(leaves)));
    END IF;
    IF (expected + CASE WHEN is_filtered THEN 0.35 * rows ELSE 0 END) > 1.5 * leaves * (700 + 18 * ef) THEN
        settings := ARRAY['hnsw.ef_search', least(1000, ef)::int::text, 'hnsw.iterative_scan',
                          CASE WHEN is_filtered AND leaves = 1 THEN 'off' ELSE 'relaxed_order' END];
    END IF;
END
$$;


-- The k entities nearest to a vector: as many as match, if fewer. By an index where that pays, and exactly where the
-- index gives too few, in one statement and so of one snapshot. pgvector may stand in any schema, and may be moved to
-- another: its name is looked up at every call, and types and operators are written with it.
CREATE FUNCTION vecstore.search(
    collection text, query text, k int DEFAULT 10, filter jsonb DEFAULT NULL, field text DEFAULT NULL,
    metric text DEFAULT NULL, partitions text[] DEFAULT NULL, include_vectors boolean DEFAULT false
)
RETURNS TABLE (id text, distance float8, entity jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp ROWS 10 AS $$
DECLARE
    target record;
    vector record;
    chosen record;
    place text;
    key text;
    extension text;
    names text[];
    possible text[];
    operator text;
    compared text;
    condition text;
    columns text;
    document text;
    matching text;
    rough text;
    changed text[] := '{}';
BEGIN
    target := vecstore._collection(collection);
    IF k IS NULL OR k NOT BETWEEN 1 AND 16384 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('k must be from 1 to 16,384, got %s', coalesce(k::text, 'NULL'));
    END IF;

    -- The field, and how it is compared.
    SELECT array_agg(f.name ORDER BY f.position) INTO names
    FROM vecstore.fields f WHERE f.collection = target.name AND f.data_type LIKE '%\_VECTOR';
    SELECT f.name, f.data_type, f.column_type, f.dim, f.nullable INTO vector
    FROM vecstore.fields f
    WHERE f.collection = target.name AND f.name = coalesce(field, names[1]) AND f.name = ANY (names);
    IF NOT found AND NOT has_schema_privilege(target.name, 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied for collection %L', target.name),
            HINT = 'Its owner grants it: store.grant(role, on=...), or GRANT USAGE ON SCHEMA and SELECT ON its entities.';
    ELSIF NOT found THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_column',
            MESSAGE = format('collection %L has no vector field', target.name) || coalesce(' ' || quote_literal(field), ''),
            HINT = format('Vector fields that you may use: %s.', coalesce(array_to_string(names, ', '), 'none'));
    ELSIF field IS NULL AND cardinality(names) > 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'ambiguous_parameter',
            MESSAGE = format('collection %L has several vector fields, say which: field => ...', target.name),
            HINT = format('Vector fields: %s.', array_to_string(names, ', '));
    END IF;
    possible := CASE vector.data_type
        WHEN 'BINARY_VECTOR' THEN ARRAY['HAMMING', 'JACCARD']
        WHEN 'SPARSE_FLOAT_VECTOR' THEN ARRAY['IP', 'L2', 'COSINE']
        ELSE ARRAY['COSINE', 'L2', 'IP'] END;
    IF metric IS NULL THEN
        SELECT array_agg(DISTINCT i.metric) INTO names
        FROM vecstore.indexes i WHERE i.collection = target.name AND i.field = vector.name AND i.metric IS NOT NULL;
        IF cardinality(names) > 1 THEN
            RAISE EXCEPTION USING ERRCODE = 'ambiguous_parameter',
                MESSAGE = format('field %L has indexes by %s: say which, metric => ...',
                                 vector.name, array_to_string(names, ', '));
        END IF;
        metric := coalesce(names[1], possible[1]);
    ELSIF metric <> ALL (possible) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('field %L is %s: metric %L is not one of %s',
                             vector.name, vector.data_type, metric, array_to_string(possible, ', '));
    END IF;
    SELECT n.nspname INTO extension
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector';
    operator := format('OPERATOR(%I.%s)', extension, CASE metric WHEN 'L2' THEN '<->' WHEN 'IP' THEN '<#>'
                       WHEN 'COSINE' THEN '<=>' WHEN 'HAMMING' THEN '<~>' ELSE '<%>' END);
    CALL vecstore._check_query(query, vector.name, vector.column_type, vector.dim, operator);

    -- The rows that match.
    SELECT a.attname INTO key
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = target.entities AND a.attname =
        (SELECT f.name FROM vecstore.fields f WHERE f.collection = target.name AND f.primary_key);
    SELECT a.attname INTO place
    FROM pg_catalog.pg_partitioned_table p
    JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partrelid = target.entities;
    condition := vecstore._condition(target.entities, target.name, filter);
    IF vector.nullable THEN
        condition := condition || format(' AND t.%I IS NOT NULL', vector.name);
    END IF;
    IF partitions IS NOT NULL THEN
        CALL vecstore._check_partitions_by_hand(target.entities, target.name, 'name');
        PERFORM vecstore._leaf(target.entities, target.name, p.name) FROM unnest(partitions) p (name);
        -- Literals, so that only these partitions are planned for.
        condition := condition || format(' AND t._partition = ANY (%L)', partitions);
    END IF;
    SELECT string_agg(format('t.%I', f.name), ', ' ORDER BY f.position),
           string_agg(format('found.%I', f.name), ', ' ORDER BY f.position) INTO columns, document
    FROM vecstore.fields f
    WHERE f.collection = target.name AND (include_vectors OR f.data_type NOT LIKE '%\_VECTOR');
    document := format('(SELECT to_jsonb(e) FROM (SELECT %s) e)', document);
    IF EXISTS (SELECT FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = target.entities AND a.attname = '_meta' AND NOT a.attisdropped) THEN
        columns := columns || ', t._meta';
        document := 'found._meta || ' || document;
    END IF;
    compared := format('t.%I %s $1::%s', vector.name, operator, vector.column_type);
    matching := format(
        'SELECT t.%I AS "vecstore.id", t.%I AS "vecstore.place", t.%I AS "vecstore.vector",'
        ' %s AS "vecstore.distance", %s FROM %I.entities t WHERE %s',
        key, place, vector.name, compared, columns, target.name, condition);

    chosen := vecstore._plan(target.entities, target.name, vector.name, metric, k, matching, query, filter,
                             filter IS NOT NULL AND filter <> '{}');
    rough := compared;
    IF chosen.half_precision THEN
        rough := format('(t.%I::%2$I.halfvec(%3$s)) %4$s (($1::%5$s)::%2$I.halfvec(%3$s))',
                        vector.name, extension, vector.dim, operator, vector.column_type);
    END IF;
    -- For this search alone. What set_config() sets does not reach the workers of Citus, as SET LOCAL does: there an
    -- index is asked with pgvector's own settings, and what it lacks is looked for exactly.
    FOR n IN 1 .. coalesce(array_length(chosen.settings, 1), 0) BY 2 LOOP
        changed := changed || chosen.settings[n] || current_setting(chosen.settings[n], true);
        PERFORM set_config(chosen.settings[n], chosen.settings[n + 1], true);
    END LOOP;
    -- A zero vector has no direction, and is never found by COSINE. pgvector divides by lengths in single precision:
    -- where it answers 0, 1 or 2 the vector may be nearly zero, or huge, and has then no distance to itself either.
    RETURN QUERY EXECUTE format($sql$
        WITH candidates AS MATERIALIZED (%1$s ORDER BY %2$s LIMIT %3$s),
        by_index AS MATERIALIZED (
            SELECT * FROM (SELECT c.*, %4$s AS "vecstore.corrected" FROM candidates c) c
            WHERE c."vecstore.corrected" <> 'NaN'
            ORDER BY c."vecstore.corrected", c."vecstore.id", c."vecstore.place" LIMIT %5$s
        ), enough AS MATERIALIZED (SELECT count(*) >= %5$s AS is_so FROM by_index),
        exact AS (
            SELECT * FROM (SELECT c.*, %4$s AS "vecstore.corrected" FROM (%1$s OFFSET 0) c) c
            WHERE c."vecstore.corrected" <> 'NaN' AND NOT (SELECT is_so FROM enough)
            ORDER BY c."vecstore.corrected", c."vecstore.id", c."vecstore.place" LIMIT %5$s
        ), found AS (
            SELECT * FROM by_index WHERE (SELECT is_so FROM enough) UNION ALL SELECT * FROM exact
        )
        SELECT found."vecstore.id"::text, %6$s, %7$s FROM found
        ORDER BY found."vecstore.corrected", found."vecstore.id", found."vecstore.place"$sql$,
        matching, rough,
        CASE WHEN chosen.settings IS NULL THEN 0 WHEN chosen.half_precision THEN least(16384, 4 * k + 4) ELSE k END,
        CASE metric WHEN 'COSINE' THEN format(
            'CASE WHEN c."vecstore.distance" IN (0, 1, 2) THEN c."vecstore.distance"'
            ' + (c."vecstore.vector" %s c."vecstore.vector") ELSE c."vecstore.distance" END', operator)
        ELSE 'c."vecstore.distance"' END,
        k,
        CASE metric WHEN 'L2' THEN 'found."vecstore.corrected" * found."vecstore.corrected"'
            WHEN 'IP' THEN '- found."vecstore.corrected"' WHEN 'COSINE' THEN '1 - found."vecstore.corrected"'
            ELSE 'found."vecstore.corrected"' END,
        document)
    USING query, filter;
    FOR n IN 1 .. coalesce(array_length(changed, 1), 0) BY 2 LOOP
        PERFORM set_config(changed[n], changed[n + 1], true);
    END LOOP;
END
$$;


COMMENT ON FUNCTION vecstore.search(text, text, int, jsonb, text, text, text[], boolean) IS
    'The k entities nearest to a vector, nearest first. distance is Milvus''s: larger is nearer for COSINE and IP. filter: {"field": value or list of values}';
