-- What is dropped and kept: a collection's schema under another name, a partition's table in a schema of its own. Both
-- are out of collection_registry, so that nothing that reads it sees them, whatever its age; vecstore.trash lists them.
CREATE SEQUENCE vecstore.trash_id_seq;


CREATE TABLE vecstore.trash_registry (
    id         bigint PRIMARY KEY,
    relation   regclass NOT NULL UNIQUE,
    collection text NOT NULL,
    partition  text,
    parent     regclass,
    indexes    text[] NOT NULL DEFAULT '{}',
    aliases    text[] NOT NULL DEFAULT '{}',
    fields     jsonb NOT NULL DEFAULT '{}',
    properties jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz,
    dropped_at timestamptz NOT NULL DEFAULT now(),
    dropped_by text NOT NULL DEFAULT current_user,
    kept_until timestamptz NOT NULL
);


ALTER TABLE vecstore.trash_registry ENABLE ROW LEVEL SECURITY;


CREATE POLICY read_by_all ON vecstore.trash_registry FOR SELECT USING (true);


CREATE POLICY written_by_owner ON vecstore.trash_registry
    USING (NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                       WHERE c.oid = relation AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')))
    WITH CHECK (EXISTS (SELECT FROM pg_catalog.pg_class c
                        WHERE c.oid = relation AND pg_catalog.pg_has_role(c.relowner, 'USAGE')));


CREATE VIEW vecstore.trash WITH (security_invoker = true) AS
SELECT t.id, t.collection, t.partition, t.dropped_at, t.dropped_by, t.kept_until, t.aliases,
       o.rolname::text AS owner,
       t.relation,
       (SELECT coalesce(sum(coalesce(nullif(pg_catalog.pg_stat_get_live_tuples(l.oid), 0),
                                     greatest(l.reltuples, 0)::bigint)), 0)::bigint
        FROM pg_catalog.pg_class l WHERE l.oid = ANY (leaves.oids)) AS rows_estimated,
       (SELECT coalesce(sum(vecstore._bytes(l)), 0)::bigint FROM unnest(leaves.oids) AS l) AS bytes
FROM vecstore.trash_registry t
JOIN pg_catalog.pg_class c ON c.oid = t.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
CROSS JOIN LATERAL (
    SELECT CASE c.relkind WHEN 'p' THEN ARRAY(SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
           ELSE ARRAY[c.oid] END AS oids
) leaves
WHERE pg_catalog.has_schema_privilege(n.oid, 'USAGE');


GRANT SELECT ON vecstore.trash, vecstore.trash_registry TO PUBLIC;


GRANT INSERT, DELETE ON vecstore.trash_registry TO PUBLIC;


GRANT USAGE ON SEQUENCE vecstore.trash_id_seq TO PUBLIC;


-- What is a table's own goes with it: leaves, indexes, constraints, the owned sequence. What refers to one of these
-- belongs to somebody else, and so does whatever else stands in the schema that is dropped; CASCADE would drop it with
-- all that refers to it in turn. Parts of such objects are not named: a view's type, an index of a materialized view.
CREATE FUNCTION vecstore._dependents(schema_name text, table_name text, with_schema boolean)
RETURNS TABLE (oid bigint, kind text, name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE own AS (
        SELECT c.tableoid AS classid, c.oid AS objid
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = schema_name AND c.relname = table_name
      UNION
        SELECT d.classid, d.objid
        FROM own
        JOIN pg_catalog.pg_depend d ON d.refclassid = own.classid AND d.refobjid = own.objid
        WHERE d.deptype IN ('a', 'i', 'P', 'S')
    ), going AS (
        SELECT classid, objid FROM own
      UNION
        SELECT d.classid, d.objid
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_namespace n ON d.refclassid = n.tableoid AND d.refobjid = n.oid
        WHERE n.nspname = schema_name AND with_schema
      UNION
        SELECT coalesce(v.tableoid, d.classid), coalesce(v.oid, d.objid)
        FROM going
        JOIN pg_catalog.pg_depend d ON d.refclassid = going.classid AND d.refobjid = going.objid
        LEFT JOIN pg_catalog.pg_rewrite w ON w.tableoid = d.classid AND w.oid = d.objid
        LEFT JOIN pg_catalog.pg_class v ON v.oid = w.ev_class
        WHERE d.deptype IN ('n', 'a', 'i', 'P', 'S')
    ), stranger AS MATERIALIZED (
        SELECT classid, objid FROM going
      EXCEPT
        SELECT classid, objid FROM own
    ), named AS (
        SELECT s.classid, s.objid
        FROM stranger s
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                          JOIN going whole ON whole.classid = d.refclassid AND whole.objid = d.refobjid
                          WHERE d.classid = s.classid AND d.objid = s.objid AND d.deptype IN ('a', 'i', 'P', 'S'))
          AND NOT EXISTS (SELECT FROM vecstore.alias_registry a
                          WHERE s.classid = 'pg_catalog.pg_class'::regclass AND a.view = s.objid)
      UNION
        -- Somebody's own table, made a partition of ours.
        SELECT own.classid, own.objid
        FROM own
        JOIN pg_catalog.pg_class c ON c.tableoid = own.classid AND c.oid = own.objid AND c.relkind IN ('r', 'p')
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname <> schema_name
    )
    SELECT DISTINCT s.objid::bigint, o.type, o.identity
    FROM named s
    CROSS JOIN pg_catalog.pg_identify_object(s.classid, s.objid, 0) o
    LEFT JOIN pg_catalog.pg_constraint k ON k.tableoid = s.classid AND k.oid = s.objid
    WHERE coalesce(k.conparentid, 0) = 0  -- a foreign key has a copy for each leaf that it refers to
$$;


-- How long a dropped collection, or partition of it, is kept: as said, else as its property or the setting says.
CREATE FUNCTION vecstore._kept_for(root oid, keep interval) RETURNS interval
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked text;
BEGIN
    IF keep IS NULL THEN
        SELECT r.properties ->> 'vecstore.keep_dropped' INTO asked
        FROM vecstore.collection_registry r WHERE r.entities = root;
        asked := coalesce(asked, nullif(current_setting('vecstore.keep_dropped', true), ''), '0');
        IF asked !~ '^\s*(0|[0-9]{1,10}\s*(second|minute|hour|day|week)s?)\s*$' THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                MESSAGE = format('vecstore.keep_dropped is %L, which is no time', asked),
                HINT = 'Expected such as ''7 days'', ''12 hours'' or ''0''; keep => ''7 days'' goes before it.';
        END IF;
        keep := asked::interval;
    END IF;
    IF keep < interval '0' OR keep > interval '36500 days' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('cannot keep what is dropped for %s', keep),
            HINT = 'Expected from 0, which is not at all, to 36500 days.';
    END IF;
    RETURN keep;
END
$$;


-- A view would go on showing what is in the trash.
CREATE PROCEDURE vecstore._refuse_kept(what text, schema_name text, table_name text, with_schema boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    others text;
BEGIN
    SELECT string_agg(d.kind || ' ' || d.name, E'\n' ORDER BY d.kind, d.name) INTO others
    FROM vecstore._dependents(schema_name, table_name, with_schema) d;
    IF others IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = format('%s cannot be dropped and kept, others depend on it', what),
            DETAIL = others,
            HINT = 'Drop them first, or drop for good: keep => ''0''.';
    END IF;
END
$$;


CREATE PROCEDURE vecstore._keep_collection(root oid, called text, alias_names text[], kept_for interval)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number bigint := nextval('vecstore.trash_id_seq');
    place text := '_vecstore_trash_' || number;
    alias text;
    number_of_alias int := 0;
BEGIN
    CALL vecstore._refuse_kept(format('collection %L', called), called, 'entities', true);
    FOREACH alias IN ARRAY alias_names LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('vecstore:' || alias, 0));
        CALL vecstore._refuse_kept(format('alias %L', alias), alias, 'entities', true);
        number_of_alias := number_of_alias + 1;
        EXECUTE format('ALTER SCHEMA %I RENAME TO %I', alias, place || '_' || number_of_alias);
    END LOOP;
    EXECUTE format('ALTER SCHEMA %I RENAME TO %I', called, place);
    INSERT INTO vecstore.trash_registry (id, relation, collection, aliases, fields, properties, created_at, kept_until)
    SELECT number, r.entities, called, alias_names, r.fields, r.properties, r.created_at, now() + kept_for
    FROM vecstore.collection_registry r WHERE r.entities = root;
    DELETE FROM vecstore.collection_registry r WHERE r.entities = root;
END
$$;


-- The defaults that draw from the collection's sequence: a partition in the trash must not hold on to it.
CREATE FUNCTION vecstore._drawn_columns(root oid) RETURNS SETOF name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.attname
    FROM pg_catalog.pg_attrdef f
    JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    JOIN pg_catalog.pg_depend d ON d.classid = f.tableoid AND d.objid = f.oid
         AND d.refclassid = 'pg_catalog.pg_class'::regclass
    JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
    WHERE f.adrelid = root
$$;


CREATE PROCEDURE vecstore._keep_partition(
    root oid, called text, leaf text, partition_name text, kept_for interval)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number bigint := nextval('vecstore.trash_id_seq');
    place text := '_vecstore_trash_' || number;
    what text := format('partition %L of collection %L', partition_name, called);
    relation regclass := format('%I.%I', called, leaf)::regclass;
    attached text[];
    drawn name;
BEGIN
    CALL vecstore._refuse_kept(what, called, leaf, false);
    SELECT coalesce(array_agg(x.relname::text ORDER BY x.oid), '{}') INTO attached
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_inherits h ON h.inhrelid = x.oid
    WHERE i.indrelid = relation;
    EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %s', place,
                   (SELECT c.relowner::regrole FROM pg_catalog.pg_class c WHERE c.oid = relation));
    EXECUTE format('COMMENT ON SCHEMA %I IS %L', place, 'A partition that was dropped and is kept by vecstore');
    CALL vecstore._change(what, format('ALTER TABLE %1$I.entities DETACH PARTITION %1$I.%2$I', called, leaf));
    FOR drawn IN SELECT vecstore._drawn_columns(relation) LOOP
        EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I DROP DEFAULT', called, leaf, drawn);
    END LOOP;
    EXECUTE format('ALTER TABLE %I.%I SET SCHEMA %I', called, leaf, place);
    INSERT INTO vecstore.trash_registry (id, relation, collection, partition, parent, indexes, kept_until)
    VALUES (number, relation, called, partition_name, root, attached, now() + kept_for);
END
$$;


DROP PROCEDURE vecstore.drop_partition(text, text, boolean);


CREATE PROCEDURE vecstore.drop_partition(
    collection text, partition_name text, cascade boolean DEFAULT false, keep interval DEFAULT NULL)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    target record;
    leaf text;
    what text;
    kept_for interval;
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
    kept_for := vecstore._kept_for(target.entities, keep);
    IF kept_for > interval '0' THEN
        CALL vecstore._keep_partition(target.entities, target.name, leaf, partition_name, kept_for);
        RETURN;
    END IF;
    IF NOT cascade THEN
        CALL vecstore._check_tables(what, to_regclass(format('%I.%I', target.name, leaf)));
    END IF;
    CALL vecstore._change(what, format('DROP TABLE %I.%I %s', target.name, leaf,
                                       CASE WHEN cascade THEN 'CASCADE' ELSE 'RESTRICT' END));
END
$$;


DROP PROCEDURE vecstore.drop_collection(text, boolean);


CREATE PROCEDURE vecstore.drop_collection(
    collection text, cascade boolean DEFAULT false, keep interval DEFAULT NULL)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    target record;
    names text[];
    behaviour text := CASE WHEN cascade THEN 'CASCADE' ELSE 'RESTRICT' END;
    what text := format('collection %L', collection);
    kept_for interval;
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
    SELECT coalesce(array_agg(DISTINCT vn.nspname::text ORDER BY vn.nspname::text), '{}') INTO names
    FROM vecstore.alias_registry a
    JOIN pg_catalog.pg_class v ON v.oid = a.view
    JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
    JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = target.entities;
    kept_for := vecstore._kept_for(target.entities, keep);
    IF names <> '{}' AND NOT (cascade AND kept_for > interval '0') THEN
        RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = format('collection %L has aliases, drop them first: %s', collection,
                             array_to_string(names, ', ')),
            HINT = 'The library''s store.drop_alias() drops an alias; so does DROP SCHEMA alias CASCADE. '
                   'A drop that is kept takes them along with cascade => true, and they come back with it.';
    END IF;
    IF kept_for > interval '0' THEN
        CALL vecstore._keep_collection(target.entities, collection, names, kept_for);
        RETURN;
    END IF;
    IF NOT cascade THEN
        CALL vecstore._check_tables(what, target.entities);
    END IF;
    IF vecstore._needs_too_many_locks(target.entities) THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded',
            MESSAGE = format('collection %L has more partitions than one transaction can lock', collection),
            HINT = 'The library''s store.drop_collection() drops it whole; so do keep => ''1 second'' and then, alone, '
                   'CALL vecstore.purge().';
    END IF;
    CALL vecstore._change(what, format('DROP TABLE %I.entities %s', collection, behaviour));
    CALL vecstore._change(what, format('DROP SCHEMA %I %s', collection, behaviour));
    DELETE FROM vecstore.collection_registry r WHERE r.entities::oid = target.entities;
END
$$;


-- What is in the trash under a name: the newest, or the one of a number.
CREATE FUNCTION vecstore._trashed(
    called text, partition_name text, root oid, number bigint,
    OUT id bigint, OUT relation regclass, OUT indexes text[], OUT aliases text[], OUT place text, OUT table_name text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner oid;
BEGIN
    SELECT t.id, t.relation, t.indexes, t.aliases, n.nspname, c.relname, c.relowner
    INTO id, relation, indexes, aliases, place, table_name, owner
    FROM vecstore.trash_registry t
    JOIN pg_catalog.pg_class c ON c.oid = t.relation
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE (number IS NULL OR t.id = number) AND t.partition IS NOT DISTINCT FROM partition_name
      -- A partition is its collection's, whatever that is called now; of one that is gone, of whoever has its name.
      AND CASE WHEN root IS NULL THEN t.collection = called
               WHEN EXISTS (SELECT FROM pg_catalog.pg_class p WHERE p.oid = t.parent) THEN t.parent = root
               ELSE t.collection = called END
    ORDER BY t.id DESC LIMIT 1;
    IF place IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = CASE WHEN partition_name IS NULL THEN format('no dropped collection %L is kept', called)
                      ELSE format('no dropped partition %L of collection %L is kept', partition_name, called) END
                      || coalesce(format(' as number %s', number), ''),
            HINT = 'SELECT id, collection, partition, kept_until FROM vecstore.trash lists what is.';
    END IF;
    IF NOT pg_catalog.pg_has_role(owner, 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('%L was dropped and belongs to %s, who restores it', called, owner::regrole);
    END IF;
END
$$;


CREATE PROCEDURE vecstore._check_restored_name(called text, hint text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF called !~ '^[A-Za-z_][A-Za-z0-9_]{0,62}$'
       OR lower(called) ~ '^(pg_|_vecstore_trash_)|^(public|information_schema|vecstore)$' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_name',
            MESSAGE = format('invalid collection name %L', called),
            HINT = 'Expected a letter or underscore, then letters, digits and underscores, at most 63 in all.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('vecstore:' || called, 0));
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = called) THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_schema',
            MESSAGE = format('the name %L is taken meanwhile', called), HINT = hint;
    END IF;
END
$$;


CREATE PROCEDURE vecstore.restore_collection(
    collection text, as_name text DEFAULT NULL, trash_id bigint DEFAULT NULL, with_aliases boolean DEFAULT true)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    target text := coalesce(as_name, collection);
    found record;
    alias text;
    own text;
    number int := 0;
BEGIN
    found := vecstore._trashed(collection, NULL, NULL, trash_id);
    -- Aliases are locked before collections, by everybody.
    FOREACH alias IN ARRAY CASE WHEN with_aliases THEN found.aliases ELSE '{}' END LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('vecstore:' || alias, 0));
    END LOOP;
    CALL vecstore._check_restored_name(target, 'as_name => ''another'' restores it under another name.');
    FOREACH alias IN ARRAY CASE WHEN with_aliases THEN found.aliases ELSE '{}' END LOOP
        CALL vecstore._check_restored_name(alias, 'with_aliases => false leaves the aliases out.');
    END LOOP;
    PERFORM pg_advisory_xact_lock(hashtextextended('vecstore:' || found.place, 0));
    found := vecstore._trashed(collection, NULL, NULL, found.id);
    FOREACH alias IN ARRAY found.aliases LOOP
        number := number + 1;
        own := found.place || '_' || number;
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = own) THEN
            CONTINUE;
        ELSIF with_aliases THEN
            EXECUTE format('ALTER SCHEMA %I RENAME TO %I', own, alias);
        ELSE
            DELETE FROM vecstore.alias_registry a WHERE a.view = to_regclass(quote_ident(own) || '.entities');
            EXECUTE format('DROP SCHEMA %I CASCADE', own);
        END IF;
    END LOOP;
    EXECUTE format('ALTER SCHEMA %I RENAME TO %I', found.place, target);
    INSERT INTO vecstore.collection_registry (entities, fields, properties, created_at)
    SELECT t.relation, t.fields, t.properties, t.created_at FROM vecstore.trash_registry t WHERE t.id = found.id;
    DELETE FROM vecstore.trash_registry t WHERE t.id = found.id;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
        MESSAGE = format('collection %L is being changed by somebody else', target),
        HINT = 'Nothing was changed. Try again when that is done.';
END
$$;


-- What keeps a table from being attached as the partition that it was.
CREATE FUNCTION vecstore._differences(root oid, leaf oid) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH columns AS (
        SELECT a.attrelid, a.attname,
               format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
               || CASE WHEN a.attgenerated <> '' THEN ' GENERATED' ELSE '' END
               || CASE WHEN a.attcollation NOT IN (0, y.typcollation)
                       THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END AS kind
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
        WHERE a.attrelid IN (root, leaf) AND a.attnum > 0 AND NOT a.attisdropped
    ), checks AS (
        SELECT k.conrelid, k.conname, pg_get_constraintdef(k.oid) AS kind
        FROM pg_catalog.pg_constraint k
        WHERE k.conrelid IN (root, leaf) AND k.contype = 'c'
    )
    SELECT CASE WHEN l.kind IS NULL THEN format('field %I (%s) was added', attname, p.kind)
                WHEN p.kind IS NULL THEN format('field %I (%s) was dropped', attname, l.kind)
                ELSE format('field %I is %s, was %s', attname, p.kind, l.kind) END
    FROM (SELECT attname, kind FROM columns WHERE attrelid = root) p
    FULL JOIN (SELECT attname, kind FROM columns WHERE attrelid = leaf) l USING (attname)
    WHERE p.kind IS DISTINCT FROM l.kind
  UNION ALL
    -- One that only the partition has is somebody's own, and was there before.
    SELECT CASE WHEN l.kind IS NULL THEN format('constraint %I, %s, was added', p.conname, p.kind)
                ELSE format('constraint %I is %s, was %s', p.conname, p.kind, l.kind) END
    FROM checks p
    LEFT JOIN checks l ON l.conrelid = leaf AND l.conname = p.conname
    WHERE p.conrelid = root AND p.kind IS DISTINCT FROM l.kind
      -- A field that came or went says enough.
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
                      CROSS JOIN unnest(k.conkey) AS number
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = root AND a.attnum = number
                      WHERE k.conrelid = root AND k.conname = p.conname
                        AND a.attname NOT IN (SELECT c.attname FROM columns c WHERE c.attrelid = leaf))
$$;


-- Of the indexes that were parts of the collection's: those that are none now, for it has no such index any more.
CREATE FUNCTION vecstore._stale_indexes(root oid, leaf oid, names text[]) RETURNS SETOF name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH described AS (
        SELECT i.indrelid, x.relname, i.indisprimary, x.relam, i.indclass, i.indisunique, x.reloptions,
               ARRAY(SELECT pg_get_indexdef(x.oid, k, true) FROM generate_series(1, i.indnatts::int) k) AS keys,
               pg_get_expr(i.indpred, i.indrelid) AS condition
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid IN (root, leaf)
    )
    SELECT l.relname
    FROM described l
    WHERE l.indrelid = leaf AND l.relname = ANY (names) AND NOT l.indisprimary
      AND NOT EXISTS (SELECT FROM described p
                      WHERE p.indrelid = root AND p.relam = l.relam AND p.indclass = l.indclass
                        AND p.indisunique = l.indisunique AND p.reloptions IS NOT DISTINCT FROM l.reloptions
                        AND p.keys = l.keys AND p.condition IS NOT DISTINCT FROM l.condition)
$$;


CREATE PROCEDURE vecstore.restore_partition(collection text, partition_name text, trash_id bigint DEFAULT NULL)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    target record;
    found record;
    others text[];
    leaf text;
    one name;
BEGIN
    target := vecstore._locked_collection(collection);
    CALL vecstore._check_partitions_by_hand(target.entities, target.name, 'restore');
    found := vecstore._trashed(target.name, partition_name, target.entities, trash_id);
    PERFORM pg_advisory_xact_lock(hashtextextended('vecstore:' || found.place, 0));
    found := vecstore._trashed(target.name, partition_name, target.entities, found.id);
    IF EXISTS (SELECT FROM vecstore.partitions p
               WHERE p.collection = target.name AND p.name = partition_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
            MESSAGE = format('collection %L has a partition %L again', target.name, partition_name),
            HINT = 'Drop that one first, with keep => ''7 days'' if it may be needed.';
    END IF;
    others := ARRAY(SELECT vecstore._differences(target.entities, found.relation));
    IF cardinality(others) > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'datatype_mismatch',
            MESSAGE = format('collection %L has changed since partition %L was dropped: %s', target.name,
                             partition_name, array_to_string(others, '; ')),
            HINT = format('Undo that first; or read the rows from %I.%I.', found.place, found.table_name);
    END IF;
    FOR one IN SELECT vecstore._stale_indexes(target.entities, found.relation, found.indexes) LOOP
        EXECUTE format('DROP INDEX %I.%I', found.place, one);
    END LOOP;
    -- Names of tables and indexes of partitions do not matter, and may be taken meanwhile.
    leaf := found.table_name;
    FOR one IN
        SELECT c.relname FROM pg_catalog.pg_class c
        WHERE c.relnamespace = found.place::regnamespace AND c.relkind IN ('r', 'i')
    LOOP
        IF to_regclass(format('%I.%I', target.name, one)) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I.%I RENAME TO %I', found.place, one, left(one, 40) || '_' || found.id);
            leaf := CASE WHEN one = leaf THEN left(one, 40) || '_' || found.id ELSE leaf END;
        END IF;
    END LOOP;
    EXECUTE format('ALTER TABLE %I.%I SET SCHEMA %I', found.place, leaf, target.name);
    CALL vecstore._give_to_owner(target.entities, target.name, leaf);
    CALL vecstore._draw_from_sequence(target.entities, target.name, leaf);
    CALL vecstore._change(format('collection %L', target.name),
                          format('ALTER TABLE %1$I.entities ATTACH PARTITION %1$I.%2$I FOR VALUES IN (%3$L)',
                                 target.name, leaf, partition_name));
    EXECUTE format('DROP SCHEMA %I', found.place);
    DELETE FROM vecstore.trash_registry t WHERE t.id = found.id;
END
$$;


-- A collection may have passed to another role meanwhile: it has one owner.
CREATE PROCEDURE vecstore._give_to_owner(root oid, called text, leaf text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner regrole;
BEGIN
    SELECT p.relowner INTO owner
    FROM pg_catalog.pg_class p, pg_catalog.pg_class c
    WHERE p.oid = root AND c.oid = format('%I.%I', called, leaf)::regclass AND c.relowner <> p.relowner;
    IF owner IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %I.%I OWNER TO %s', called, leaf, owner);
    END IF;
END
$$;


-- As before; and keys that another sequence has drawn are not drawn again.
CREATE PROCEDURE vecstore._draw_from_sequence(root oid, called text, leaf text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    drawn record;
    highest bigint;
BEGIN
    FOR drawn IN
        SELECT a.attname, pg_get_expr(f.adbin, root) AS value,
               pg_get_serial_sequence(format('%I.entities', called), a.attname)::regclass AS sequence
        FROM vecstore._drawn_columns(root) AS named (attname)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = root AND a.attname = named.attname
        JOIN pg_catalog.pg_attrdef f ON f.adrelid = root AND f.adnum = a.attnum
    LOOP
        EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I SET DEFAULT %s', called, leaf, drawn.attname, drawn.value);
        EXECUTE format('SELECT max(%I)::bigint FROM %I.%I', drawn.attname, called, leaf) INTO highest;
        IF highest > coalesce(pg_sequence_last_value(drawn.sequence), 0) THEN
            PERFORM setval(drawn.sequence, highest);
        END IF;
    END LOOP;
END
$$;


-- One thing that is due: a partition is freed, a collection only handed to _free_next(). Gives its number, to go on
-- after; NULL when nothing is left. Mine are those that I may drop.
CREATE FUNCTION vecstore._purge_next(older_than interval, after bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' SET client_min_messages = 'warning'
AS $$
DECLARE
    found record;
    alias int;
BEGIN
    IF older_than < interval '0' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('nothing was dropped longer ago than %s', older_than),
            HINT = 'Expected such as ''7 days''; ''0'' frees all that is in the trash.';
    END IF;
    DELETE FROM vecstore.trash_registry t
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.relation);
    SELECT t.id, t.partition IS NOT NULL AS is_partition, t.collection, cardinality(t.aliases) AS aliases,
           n.nspname AS place, c.relname INTO found
    FROM vecstore.trash_registry t
    JOIN pg_catalog.pg_class c ON c.oid = t.relation
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.id > after AND (t.kept_until <= now() OR t.dropped_at <= now() - older_than)
      AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
    ORDER BY t.id LIMIT 1;
    IF found IS NULL THEN
        RETURN NULL;
    END IF;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended('vecstore:' || found.place, 0));
        IF NOT EXISTS (SELECT FROM vecstore.trash_registry t WHERE t.id = found.id) THEN
            RETURN found.id;
        ELSIF found.is_partition THEN
            EXECUTE format('DROP TABLE %I.%I CASCADE', found.place, found.relname);
            EXECUTE format('DROP SCHEMA %I CASCADE', found.place);
        ELSE
            FOR alias IN 1 .. found.aliases LOOP
                DELETE FROM vecstore.alias_registry a
                WHERE a.view = to_regclass(quote_ident(found.place || '_' || alias) || '.entities');
                EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', found.place || '_' || alias);
            END LOOP;
            INSERT INTO vecstore.collection_registry
                (entities, fields, properties, created_at, dropped_at, dropped_name)
            SELECT t.relation, t.fields, t.properties, t.created_at, t.dropped_at, t.collection
            FROM vecstore.trash_registry t WHERE t.id = found.id;
        END IF;
        DELETE FROM vecstore.trash_registry t WHERE t.id = found.id;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RAISE WARNING 'number % of the trash is not freed: others use it', found.id;
    END;
    RETURN found.id;
END
$$;


-- A hundred partitions of a collection that is being freed, as the library does it; where to go on, or NULL.
CREATE FUNCTION vecstore._free_next(after bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' SET client_min_messages = 'warning'
AS $$
DECLARE
    found record;
    leaf name;
    dropped int := 0;
BEGIN
    SELECT c.oid::bigint AS number, c.oid, n.nspname AS place INTO found
    FROM vecstore.collection_registry r
    JOIN pg_catalog.pg_class c ON c.oid = r.entities
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE r.dropped_at IS NOT NULL AND c.oid::bigint > after AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
    ORDER BY c.oid::bigint LIMIT 1;
    IF found IS NULL THEN
        RETURN NULL;
    END IF;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended('vecstore:' || found.place, 0));
        IF NOT EXISTS (SELECT FROM vecstore.collection_registry r WHERE r.entities = found.oid) THEN
            RETURN found.number;
        END IF;
        FOR leaf IN
            SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = found.oid ORDER BY c.oid LIMIT 100
        LOOP
            EXECUTE format('DROP TABLE %I.%I CASCADE', found.place, leaf);
            dropped := dropped + 1;
        END LOOP;
        IF dropped = 100 THEN
            RETURN found.number - 1;
        END IF;
        DELETE FROM vecstore.collection_registry r WHERE r.entities = found.oid;
        EXECUTE format('DROP SCHEMA %I CASCADE', found.place);
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RAISE WARNING 'collection % is not freed: others use it', found.place;
    END;
    RETURN found.number;
END
$$;


-- It commits, so it has no SET of its own; and so there is no operator in it that a search path could change.
CREATE PROCEDURE vecstore.purge(older_than interval DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    place bigint := 0;
BEGIN
    LOOP
        place := vecstore._purge_next(older_than, place);
        EXIT WHEN place IS NULL;
        COMMIT;
    END LOOP;
    place := 0;
    LOOP
        place := vecstore._free_next(place);
        EXIT WHEN place IS NULL;
        COMMIT;
    END LOOP;
END
$$;


COMMENT ON TABLE vecstore.trash_registry IS 'One row a collection or partition that was dropped and is kept';


COMMENT ON COLUMN vecstore.trash_registry.id IS 'Its number, which names the schema that it is in';


COMMENT ON COLUMN vecstore.trash_registry.relation IS 'The collection''s table, or the partition''s';


COMMENT ON COLUMN vecstore.trash_registry.collection IS 'The collection''s name when it was dropped';


COMMENT ON COLUMN vecstore.trash_registry.partition IS 'The partition''s name; NULL where it is a collection';


COMMENT ON COLUMN vecstore.trash_registry.parent IS 'The table of the partition''s collection';


COMMENT ON COLUMN vecstore.trash_registry.indexes IS 'The partition''s indexes that were parts of the collection''s';


COMMENT ON COLUMN vecstore.trash_registry.aliases IS 'The aliases that went along, each in a schema of the trash';


COMMENT ON COLUMN vecstore.trash_registry.fields IS 'As in collection_registry';


COMMENT ON COLUMN vecstore.trash_registry.properties IS 'As in collection_registry';


COMMENT ON COLUMN vecstore.trash_registry.created_at IS 'When the collection was created';


COMMENT ON COLUMN vecstore.trash_registry.dropped_at IS 'When it was dropped';


COMMENT ON COLUMN vecstore.trash_registry.dropped_by IS 'The role that dropped it';


COMMENT ON COLUMN vecstore.trash_registry.kept_until IS 'purge() frees it after that';


COMMENT ON VIEW vecstore.trash IS
    'What was dropped and is kept, as far as you may look into it: restore_collection(), restore_partition(), purge()';


COMMENT ON COLUMN vecstore.trash.id IS 'What restore_collection(), restore_partition() and purge() call it by';


COMMENT ON COLUMN vecstore.trash.collection IS 'The name the collection had';


COMMENT ON COLUMN vecstore.trash.partition IS 'The partition that was dropped; NULL where it was the collection';


COMMENT ON COLUMN vecstore.trash.dropped_at IS 'When it was dropped';


COMMENT ON COLUMN vecstore.trash.dropped_by IS 'The role that dropped it';


COMMENT ON COLUMN vecstore.trash.kept_until IS 'purge() frees it after that';


COMMENT ON COLUMN vecstore.trash.aliases IS 'The aliases that the collection had';


COMMENT ON COLUMN vecstore.trash.owner IS 'The role it belongs to';


COMMENT ON COLUMN vecstore.trash.relation IS 'Its table';


COMMENT ON COLUMN vecstore.trash.rows_estimated IS 'By the statistics; count(*) is exact';


COMMENT ON COLUMN vecstore.trash.bytes IS 'With indexes and TOAST';


COMMENT ON PROCEDURE vecstore.drop_partition(text, text, boolean, interval) IS
    'Drop a partition with its entities; with keep => ''7 days'', restore_partition() takes it back; with cascade => true, also what others made that depends on it';


COMMENT ON PROCEDURE vecstore.drop_collection(text, boolean, interval) IS
    'Drop a collection with all that is in it; with keep => ''7 days'', restore_collection() takes it back; with cascade => true, also what others made that depends on it, or of one that is kept its aliases';


COMMENT ON PROCEDURE vecstore.restore_collection(text, text, bigint, boolean) IS
    'Take back the drop of a collection that is kept: the newest of its name, or the one of a number of vecstore.trash';


COMMENT ON PROCEDURE vecstore.restore_partition(text, text, bigint) IS
    'Take back the drop of a partition that is kept. Reads it once; builds only indexes that are new';


COMMENT ON PROCEDURE vecstore.purge(interval) IS
    'Free what was dropped and is past its keep, or was dropped longer ago than that; not inside a transaction';
