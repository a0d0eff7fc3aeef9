-- What analysts change: CALL vecstore.drop_index('books'), inside a transaction of their own or alone. They do what the
-- library does, with its checks and its locks, and with the rights of who calls. Names are values: they are compared
-- with the catalogue, and reach a statement through format('%I'). What SET gives a procedure is taken back at its end,
-- so that the caller's transaction keeps its own lock_timeout.
CREATE FUNCTION vecstore._collection(called text, OUT entities oid, OUT name text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_names text[];
BEGIN
    SELECT min(t.oid), array_agg(t.nspname::text ORDER BY t.nspname) INTO entities, found_names
    FROM (
        SELECT c.oid, n.nspname
        FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'entities' AND c.relkind = 'p'
        JOIN vecstore.collection_registry r ON r.entities = c.oid AND r.dropped_at IS NULL
        WHERE n.nspname = called
      UNION
        SELECT c.oid, n.nspname
        FROM pg_catalog.pg_namespace vn
        JOIN pg_catalog.pg_class v ON v.relnamespace = vn.oid AND v.relname = 'entities' AND v.relkind = 'v'
        JOIN vecstore.alias_registry a ON a.view = v.oid
        JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
             AND d.refclassid = 'pg_catalog.pg_class'::regclass
        JOIN vecstore.collection_registry r ON r.entities = d.refobjid AND r.dropped_at IS NULL
        JOIN pg_catalog.pg_class c ON c.oid = r.entities
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE vn.nspname = called
    ) t;
    IF entities IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_table',
            MESSAGE = format('no collection %L', called),
            HINT = 'SELECT name FROM vecstore.collections lists those that you may use.';
    ELSIF cardinality(found_names) > 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the view of alias %L was changed and shows several collections: %s',
                             called, array_to_string(found_names, ', ')),
            HINT = 'Name the collection itself, or make the alias anew.';
    END IF;
    name := found_names[1];
END
$$;


-- The collection, every other structural change of which is kept out until the transaction ends.
CREATE FUNCTION vecstore._locked_collection(called text, OUT entities oid, OUT name text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('vecstore:' || called, 0));
    SELECT c.entities, c.name INTO entities, name FROM vecstore._collection(called) c;
    IF name <> called THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('vecstore:' || name, 0));
        SELECT c.entities, c.name INTO entities, name FROM vecstore._collection(called) c;
    END IF;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
        MESSAGE = format('collection %L is being changed by somebody else', called),
        HINT = 'Nothing was changed. Try again when that is done.';
END
$$;


-- One statement that needs a table for a moment.
CREATE PROCEDURE vecstore._change(what text, statement text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    others text;
BEGIN
    EXECUTE statement;
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
            MESSAGE = format('others use %s', what),
            HINT = 'Nothing was changed. Try again when they are done; pg_blocking_pids() says who they are.';
    WHEN dependent_objects_still_exist THEN
        GET STACKED DIAGNOSTICS others = PG_EXCEPTION_DETAIL;
        CALL vecstore._refuse_dependents(what, others);
END
$$;


CREATE PROCEDURE vecstore._refuse_dependents(what text, others text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
        MESSAGE = format('%s cannot be dropped, others depend on it', what),
        DETAIL = others,
        HINT = 'Drop them first, or pass cascade => true.';
END
$$;


-- Somebody's own table that was made a partition would go with ours without a word.
CREATE PROCEDURE vecstore._check_tables(what text, root oid)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    others text;
BEGIN
    WITH RECURSIVE below AS (
        SELECT root AS oid
      UNION
        SELECT i.inhrelid FROM below JOIN pg_catalog.pg_inherits i ON i.inhparent = below.oid
    )
    SELECT string_agg(format('table %I.%I', n.nspname, c.relname), E'\n' ORDER BY n.nspname, c.relname) INTO others
    FROM below
    JOIN pg_catalog.pg_class c ON c.oid = below.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relnamespace <> (SELECT r.relnamespace FROM pg_catalog.pg_class r WHERE r.oid = root);
    IF others IS NOT NULL THEN
        CALL vecstore._refuse_dependents(what, others);
    END IF;
END
$$;


CREATE PROCEDURE vecstore.drop_index(collection text, index_name text DEFAULT NULL)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    target record;
    names text[];
    chosen text := index_name;
BEGIN
    target := vecstore._locked_collection(collection);
    SELECT array_agg(x.relname::text ORDER BY x.relname) INTO names
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = target.entities AND NOT i.indisprimary;
    IF index_name IS NULL THEN
        IF cardinality(names) > 1 THEN
            RAISE EXCEPTION USING ERRCODE = 'ambiguous_parameter',
                MESSAGE = format('collection %L has several indexes, say which', target.name),
                HINT = format('Indexes: %s.', array_to_string(names, ', '));
        END IF;
        chosen := names[1];
    END IF;
    IF chosen IS NULL OR chosen <> ALL (coalesce(names, '{}')) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('collection %L has no index', target.name) || coalesce(format(' %L', index_name), ''),
            HINT = format('Indexes: %s.', coalesce(array_to_string(names, ', '), 'none'));
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
               WHERE i.indrelid = target.entities AND x.relname = chosen AND NOT i.indisvalid) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('index %L of collection %L was left unfinished by an interrupted build',
                             chosen, target.name),
            HINT = 'Its parts on the partitions are to go with it: the library''s drop_index() and repair() find them.';
    END IF;
    CALL vecstore._change(format('index %L of collection %L', chosen, target.name),
                          format('DROP INDEX %I.%I RESTRICT', target.name, chosen));
END
$$;


-- The table of a partition, by its name.
CREATE FUNCTION vecstore._leaf(entities oid, collection text, partition_name text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    leaf text;
BEGIN
    SELECT c.relname INTO leaf
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    JOIN pg_catalog.pg_class parent ON parent.oid = i.inhparent AND parent.relnamespace = c.relnamespace
    CROSS JOIN LATERAL pg_get_expr(c.relpartbound, 0) AS e (bound)
    WHERE i.inhparent = entities AND partition_name = coalesce(
        substring(e.bound FROM '^FOR VALUES IN \(''([A-Za-z0-9_-]+)''(?:::text)?\)$'),
        '_default_' || substring(e.bound FROM '^FOR VALUES WITH \(modulus \d+, remainder (\d+)\)$'));
    IF leaf IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('collection %L has no partition %L', collection, partition_name),
            HINT = format('SELECT name FROM vecstore.partitions WHERE collection = %L lists them.', collection);
    END IF;
    RETURN leaf;
END
$$;


CREATE PROCEDURE vecstore._check_partitions_by_hand(entities oid, collection text, verb text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text;
BEGIN
    SELECT a.attname INTO key
    FROM pg_catalog.pg_partitioned_table p
    JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partrelid = entities AND p.partstrat = 'h';
    IF key IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot %s partitions of collection %L: they are made from its partition key %L',
                             verb, collection, key);
    END IF;
END
$$;


CREATE PROCEDURE vecstore.create_partition(collection text, partition_name text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    target record;
    what text;
    leaf text;
    owner name;
    salt int := 0;
BEGIN
    IF coalesce(partition_name !~ '^[A-Za-z0-9_][A-Za-z0-9_-]*$' OR length(partition_name) > 255, true) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_name',
            MESSAGE = format('invalid partition name %L', left(partition_name, 80)),
            HINT = 'Up to 255 letters, digits, underscores and, after the first character, hyphens (ASCII).';
    END IF;
    target := vecstore._locked_collection(collection);
    CALL vecstore._check_partitions_by_hand(target.entities, target.name, 'create');
    IF EXISTS (SELECT FROM vecstore.partitions p WHERE p.collection = target.name AND p.name = partition_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
            MESSAGE = format('collection %L has a partition %L', target.name, partition_name);
    END IF;
    IF (SELECT count(*) FROM pg_catalog.pg_inherits i WHERE i.inhparent = target.entities) >= 1024 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded',
            MESSAGE = format('collection %L has 1,024 partitions, which is the most', target.name),
            HINT = 'Use a partition key, or a field with an index.';
    END IF;
    leaf := 'entities_' || partition_name;
    WHILE length(leaf) > 63 OR to_regclass(format('%I.%I', target.name, leaf)) IS NOT NULL LOOP
        salt := salt + 1;
        leaf := left('entities_' || partition_name, 52) || '_'
            || left(encode(sha256(convert_to(partition_name || '/' || salt, 'UTF8')), 'hex'), 10);
    END LOOP;
    what := format('collection %L', target.name);
    -- Attached when it is there: that keeps nobody out, where PARTITION OF would.
    CALL vecstore._change(what, format(
        'CREATE TABLE %1$I.%2$I (LIKE %1$I.entities INCLUDING ALL) WITH (toast_tuple_target = 8160)',
        target.name, leaf));
    SELECT r.rolname INTO owner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
    WHERE c.oid = target.entities;
    CALL vecstore._change(what, format('ALTER TABLE %I.%I OWNER TO %I', target.name, leaf, owner));
    CALL vecstore._change(what, format('COMMENT ON TABLE %I.%I IS %L', target.name, leaf,
                                       'The entities of partition ' || partition_name));
    CALL vecstore._change(what, format('ALTER TABLE %1$I.entities ATTACH PARTITION %1$I.%2$I FOR VALUES IN (%3$L)',
                                       target.name, leaf, partition_name));
END
$$;


CREATE PROCEDURE vecstore.truncate_partition(collection text, partition_name text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    target record;
BEGIN
    target := vecstore._locked_collection(collection);
    CALL vecstore._change(format('partition %L of collection %L', partition_name, target.name),
                          format('TRUNCATE TABLE %I.%I', target.name,
                                 vecstore._leaf(target.entities, target.name, partition_name)));
END
$$;


CREATE PROCEDURE vecstore.drop_partition(collection text, partition_name text, cascade boolean DEFAULT false)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    target record;
    leaf text;
    what text;
BEGIN
    target := vecstore._locked_collection(collection);
    CALL vecstore._check_partitions_by_hand(target.entities, target.name, 'drop');
    IF partition_name = '_default' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the default partition of collection %L cannot be dropped', target.name),
            HINT = 'vecstore.truncate_partition() empties it.';
    END IF;
    leaf := vecstore._leaf(target.entities, target.name, partition_name);
    what := format('partition %L of collection %L', partition_name, target.name);
    IF NOT cascade THEN
        CALL vecstore._check_tables(what, to_regclass(format('%I.%I', target.name, leaf)));
    END IF;
    CALL vecstore._change(what, format('DROP TABLE %I.%I %s', target.name, leaf,
                                       CASE WHEN cascade THEN 'CASCADE' ELSE 'RESTRICT' END));
END
$$;


-- Some ten locks a partition and two more for each index of it are asked of a table of locks that every session uses.
CREATE FUNCTION vecstore._needs_too_many_locks(entities oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (SELECT count(*) FROM pg_catalog.pg_inherits i WHERE i.inhparent = entities)
        * (10 + 2 * (SELECT count(*) FROM pg_catalog.pg_index x WHERE x.indrelid = entities AND NOT x.indisprimary))
        > 0.5 * current_setting('max_locks_per_transaction')::int
        * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int)
$$;


CREATE PROCEDURE vecstore.drop_collection(collection text, cascade boolean DEFAULT false)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    target record;
    names text;
    behaviour text := CASE WHEN cascade THEN 'CASCADE' ELSE 'RESTRICT' END;
    what text := format('collection %L', collection);
BEGIN
    BEGIN
        target := vecstore._locked_collection(collection);
    EXCEPTION WHEN undefined_table THEN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = collection) THEN
            RAISE;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('schema %L is not a collection of vecstore: refusing to drop it', collection),
            HINT = 'DROP SCHEMA drops what is no collection.';
    END;
    IF target.name <> collection THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('%L is an alias of collection %L', collection, target.name),
            HINT = 'Drop the collection by its own name.';
    END IF;
    SELECT string_agg(DISTINCT vn.nspname, ', ' ORDER BY vn.nspname) INTO names
    FROM vecstore.alias_registry a
    JOIN pg_catalog.pg_class v ON v.oid = a.view
    JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
    JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = target.entities;
    IF names IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = format('collection %L has aliases, drop them first: %s', collection, names),
            HINT = 'The library''s store.drop_alias() drops an alias; so does DROP SCHEMA alias CASCADE.';
    END IF;
    IF NOT cascade THEN
        CALL vecstore._check_tables(what, target.entities);
    END IF;
    IF vecstore._needs_too_many_locks(target.entities) THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded',
            MESSAGE = format('collection %L has more partitions than one transaction can lock', collection),
            HINT = 'The library''s store.drop_collection() drops it whole; or drop partitions first, some hundred at a time.';
    END IF;
    CALL vecstore._change(what, format('DROP TABLE %I.entities %s', collection, behaviour));
    CALL vecstore._change(what, format('DROP SCHEMA %I %s', collection, behaviour));
    DELETE FROM vecstore.collection_registry r WHERE r.entities::oid = target.entities;
END
$$;


COMMENT ON PROCEDURE vecstore.drop_index(text, text) IS
    'Drop an index of a collection; without a name, the only one. Needs the collection for a moment';


COMMENT ON PROCEDURE vecstore.create_partition(text, text) IS
    'Create an empty partition. Neither searches nor inserts wait';


COMMENT ON PROCEDURE vecstore.truncate_partition(text, text) IS
    'Delete all entities of a partition, and give their space back at commit';


COMMENT ON PROCEDURE vecstore.drop_partition(text, text, boolean) IS
    'Drop a partition with its entities; with cascade => true, also what others made that depends on it';


COMMENT ON PROCEDURE vecstore.drop_collection(text, boolean) IS
    'Drop a collection with all that is in it; with cascade => true, also what others made that depends on it';
