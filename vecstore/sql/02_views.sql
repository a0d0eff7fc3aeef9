-- What there is, read from the catalogue at every look, so that a change by plain SQL is seen. The views read with the
-- rights of who asks and show, as those of information_schema do, what that role may use.
--
-- A size needs the table's lock for a moment. A DROP that is under way, or waits for its turn, holds nobody up: the
-- size is NULL then. STABLE, so that a query that leaves the column out does not ask for it at all.
CREATE FUNCTION vecstore._bytes(relation regclass) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET lock_timeout = '10ms' AS $$
BEGIN
    RETURN pg_catalog.pg_total_relation_size(relation);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;


-- What an index says of itself in its comment; NULL where somebody wrote another comment.
CREATE FUNCTION vecstore._meaning(comment text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN comment::jsonb -> 'vecstore';
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;


CREATE VIEW vecstore.aliases WITH (security_invoker = true) AS
SELECT DISTINCT vn.nspname::text AS name, n.nspname::text AS collection, a.created_at
FROM vecstore.alias_registry a
JOIN pg_catalog.pg_class v ON v.oid = a.view AND v.relname = 'entities' AND v.relkind = 'v'
JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
     AND d.refclassid = 'pg_catalog.pg_class'::regclass
JOIN vecstore.collection_registry r ON r.entities = d.refobjid AND r.dropped_at IS NULL
JOIN pg_catalog.pg_class c ON c.oid = r.entities
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE pg_catalog.has_schema_privilege(n.oid, 'USAGE');


CREATE VIEW vecstore.partitions WITH (security_invoker = true) AS
SELECT n.nspname::text AS collection,
       coalesce(b.listed, '_default_' || b.remainder) AS name,
       l.oid::regclass AS relation,
       coalesce(nullif(pg_catalog.pg_stat_get_live_tuples(l.oid), 0), greatest(l.reltuples, 0)::bigint)
           AS rows_estimated,
       vecstore._bytes(l.oid) AS bytes
FROM vecstore.collection_registry r
JOIN pg_catalog.pg_class c ON c.oid = r.entities AND c.relname = 'entities' AND c.relkind = 'p'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid
JOIN pg_catalog.pg_class l ON l.oid = i.inhrelid AND l.relnamespace = n.oid
CROSS JOIN LATERAL (
    -- Of no relation, for whose lock the server would wait.
    SELECT substring(e.bound FROM '^FOR VALUES IN \(''([A-Za-z0-9_-]+)''(?:::text)?\)$') AS listed,
           substring(e.bound FROM '^FOR VALUES WITH \(modulus \d+, remainder (\d+)\)$') AS remainder
    FROM pg_catalog.pg_get_expr(l.relpartbound, 0) e (bound)
) b
WHERE r.dropped_at IS NULL AND coalesce(b.listed, b.remainder) IS NOT NULL
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE');


CREATE VIEW vecstore.fields WITH (security_invoker = true) AS
WITH columns AS (
    SELECT c.oid AS entities, n.nspname, a.attname, a.attnum, a.atttypid, a.atttypmod, a.attnotnull, f.adbin,
           coalesce(r.fields -> a.attname, '{}') AS kept,
           y.typcategory = 'A' AS is_array,
           pt.partstrat = 'h' AND a.attnum = pt.partattrs[0] AS is_partition_key,
           EXISTS (SELECT FROM pg_catalog.pg_constraint p
                   WHERE p.conrelid = c.oid AND p.contype = 'p' AND a.attnum = ANY (p.conkey)) AS in_key,
           -- Of an array, its elements' type.
           jsonb '{"bool": "BOOL", "int2": "INT16", "int4": "INT32", "int8": "INT64", "float4": "FLOAT",
                   "float8": "DOUBLE", "text": "TEXT", "varchar": "TEXT", "jsonb": "JSON",
                   "timestamptz": "TIMESTAMPTZ", "vector": "FLOAT_VECTOR", "halfvec": "FLOAT16_VECTOR",
                   "sparsevec": "SPARSE_FLOAT_VECTOR", "bit": "BINARY_VECTOR"}' ->> pg_catalog.ltrim(y.typname, '_')
               AS stored
    FROM vecstore.collection_registry r
    JOIN pg_catalog.pg_class c ON c.oid = r.entities AND c.relname = 'entities' AND c.relkind = 'p'
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_partitioned_table pt ON pt.partrelid = c.oid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         AND a.attgenerated = '' AND a.attname ~ '^[A-Za-z_][A-Za-z0-9_]*$' AND a.attname NOT IN ('_partition', '_meta')
    JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum
    WHERE r.dropped_at IS NULL AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
)
SELECT c.nspname::text AS collection,
       c.attname::text AS name,
       t.data_type,
       pg_catalog.format_type(c.atttypid, c.atttypmod) AS column_type,
       CASE WHEN t.data_type LIKE '%\_VECTOR' THEN c.atttypmod END AS dim,
       CASE WHEN 'VARCHAR' IN (t.data_type, t.element_type) THEN coalesce((c.kept ->> 'max_length')::int, 65535) END
           AS max_length,
       t.element_type,
       CASE WHEN c.is_array THEN coalesce((c.kept ->> 'max_capacity')::int, 4096) END AS max_capacity,
       c.in_key AND NOT c.is_partition_key AS primary_key,
       c.in_key AND NOT c.is_partition_key AND coalesce(d.default_value, '') LIKE '%nextval(%' AS auto_id,
       c.is_partition_key AS partition_key,
       NOT c.attnotnull AS nullable,
       d.default_value,
       pg_catalog.col_description(c.entities, c.attnum) AS description,
       c.attnum AS position
FROM columns c
-- Types that two data types share: the registry decides between them, as long as the column still has the type.
CROSS JOIN LATERAL (
    SELECT jsonb '{"INT8": "INT16", "VARCHAR": "TEXT", "BFLOAT16_VECTOR": "FLOAT_VECTOR",
                   "INT8_VECTOR": "FLOAT16_VECTOR"}' AS shared,
           pg_catalog.pg_get_expr(c.adbin, 0) AS default_value
) d
CROSS JOIN LATERAL (
    SELECT CASE WHEN c.is_array THEN 'ARRAY'
                WHEN d.shared ->> (c.kept ->> 'data_type') = c.stored THEN c.kept ->> 'data_type'
                WHEN c.stored = 'TEXT' AND c.in_key AND c.kept ->> 'data_type' IS NULL THEN 'VARCHAR'
                ELSE c.stored END AS data_type,
           CASE WHEN NOT c.is_array THEN NULL
                WHEN c.stored = 'TEXT' THEN 'VARCHAR'
                WHEN d.shared ->> (c.kept ->> 'element_type') = c.stored THEN c.kept ->> 'element_type'
                WHEN c.stored IN ('BOOL', 'INT16', 'INT32', 'INT64', 'FLOAT', 'DOUBLE') THEN c.stored
                END AS element_type
) t
WHERE t.data_type IS NOT NULL
  AND (t.data_type <> 'ARRAY' OR t.element_type IS NOT NULL)
  AND (t.data_type NOT LIKE '%\_VECTOR' OR c.atttypmod > 0)
  AND (t.data_type <> 'BINARY_VECTOR' OR c.atttypmod % 8 = 0);


-- An index that is built in a transaction is seen by nobody else before its end: of it there is the progress alone, and
-- no name. An online build is seen: its index is invalid until the last partition's is attached to it.
CREATE VIEW vecstore.indexes WITH (security_invoker = true) AS
WITH metrics (suffix, metric) AS (
    VALUES ('\_l2\_ops', 'L2'), ('\_ip\_ops', 'IP'), ('\_cosine\_ops', 'COSINE'), ('\_hamming\_ops', 'HAMMING'),
           ('\_jaccard\_ops', 'JACCARD')
), entities AS (
    SELECT c.oid, n.nspname::text AS collection,
           (SELECT count(*) FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AS leaves
    FROM vecstore.collection_registry r
    JOIN pg_catalog.pg_class c ON c.oid = r.entities AND c.relname = 'entities' AND c.relkind = 'p'
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE r.dropped_at IS NULL AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
), builds AS (
    SELECT coalesce(l.inhparent, p.relid) AS entities, p.index_relid, p.phase, p.partitions_total, p.partitions_done,
           coalesce(p.blocks_done::numeric / nullif(p.blocks_total, 0), 0) AS share
    FROM pg_catalog.pg_stat_progress_create_index p
    LEFT JOIN pg_catalog.pg_inherits l ON l.inhrelid = p.relid
    WHERE p.datname = pg_catalog.current_database()
)
SELECT e.collection,
       x.relname::text AS name,
       CASE a.attname WHEN '_meta' THEN '$meta' ELSE a.attname::text END || coalesce(k.path, '') AS field,
       m.amname::text AS method,
       mt.metric,
       k.is_half AS half_precision,
       CASE WHEN i.indisvalid THEN 'ready' WHEN b.phase IS NULL THEN 'invalid' ELSE 'building' END AS state,
       b.phase AS build_phase,
       round(100 * (b.attached + b.share) / nullif(e.leaves, 0), 1) AS build_percent,
       (SELECT coalesce(sum(vecstore._bytes(l.inhrelid)), 0)::bigint
        FROM pg_catalog.pg_inherits l WHERE l.inhparent = x.oid) AS bytes,
       x.reloptions AS options,
       o.opcname::text AS operator_class
FROM entities e
JOIN pg_catalog.pg_index i ON i.indrelid = e.oid AND NOT i.indisprimary
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = x.relam
JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
JOIN pg_catalog.pg_attribute xa ON xa.attrelid = x.oid AND xa.attnum = 1
CROSS JOIN LATERAL (
    SELECT min(d.refobjsubid) AS attnum, count(*) AS columns
    FROM pg_catalog.pg_depend d
    WHERE i.indkey[0] = 0 AND d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = x.oid AND d.refobjsubid > 0
) used
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = e.oid AND a.attnum > 0
     AND a.attnum = CASE WHEN i.indkey[0] > 0 THEN i.indkey[0] WHEN used.columns = 1 THEN used.attnum END
LEFT JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
LEFT JOIN metrics mt ON o.opcname LIKE '%' || mt.suffix AND m.amname IN ('hnsw', 'ivfflat') AND i.indpred IS NULL
CROSS JOIN LATERAL (
    SELECT coalesce(i.indkey[0] = 0 AND y.typname = 'vector' AND xa.atttypmod = a.atttypmod
                    AND pg_catalog.starts_with(o.opcname, 'halfvec_'), false) AS is_half,
           (SELECT string_agg(CASE jsonb_typeof(key) WHEN 'number' THEN '[' || (key #>> '{}') || ']'
                              ELSE '[''' || replace(replace(key #>> '{}', '\', '\\'), '''', '\''') || ''']' END,
                              '' ORDER BY place)
            FROM jsonb_array_elements(vecstore._meaning(pg_catalog.obj_description(x.oid, 'pg_class')) -> 'keys')
                 WITH ORDINALITY AS keys (key, place)
            WHERE i.indkey[0] = 0) AS path
) k
LEFT JOIN LATERAL (
    SELECT b.phase, b.share,
           (SELECT count(*) FROM pg_catalog.pg_inherits l WHERE l.inhparent = x.oid) AS attached
    FROM builds b
    JOIN pg_catalog.pg_index li ON li.indexrelid = b.index_relid
    WHERE NOT i.indisvalid AND b.entities = e.oid AND li.indclass = i.indclass AND li.indkey = i.indkey
    LIMIT 1
) b ON true
UNION ALL
SELECT e.collection, NULL, NULL, NULL, NULL, NULL, 'building', b.phase,
       round(100 * (b.partitions_done + b.share) / greatest(b.partitions_total, 1), 1), NULL, NULL, NULL
FROM builds b
JOIN entities e ON e.oid = b.entities
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = b.index_relid);


CREATE VIEW vecstore.collections WITH (security_invoker = true) AS
SELECT n.nspname::text AS name,
       nullif(pg_catalog.obj_description(n.oid, 'pg_namespace'), 'A collection of vecstore') AS description,
       o.rolname::text AS owner,
       (SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND p.partstrat = 'h' AND a.attnum = p.partattrs[0]) AS partition_key,
       EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = '_meta') AS dynamic,
       ARRAY(SELECT a.name FROM vecstore.aliases a WHERE a.collection = n.nspname ORDER BY a.name) AS aliases,
       (SELECT count(*) FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AS partitions,
       (SELECT coalesce(sum(coalesce(nullif(pg_catalog.pg_stat_get_live_tuples(l.oid), 0),
                                     greatest(l.reltuples, 0)::bigint)), 0)::bigint
        FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class l ON l.oid = i.inhrelid
        WHERE i.inhparent = c.oid) AS rows_estimated,
       (SELECT coalesce(sum(vecstore._bytes(i.inhrelid)), 0)::bigint
        FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AS bytes,
       r.properties,
       r.created_at
FROM vecstore.collection_registry r
JOIN pg_catalog.pg_class c ON c.oid = r.entities AND c.relname = 'entities' AND c.relkind = 'p'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
WHERE r.dropped_at IS NULL AND pg_catalog.has_schema_privilege(n.oid, 'USAGE');


GRANT SELECT ON vecstore.collections, vecstore.fields, vecstore.partitions, vecstore.indexes, vecstore.aliases
    TO PUBLIC;


COMMENT ON VIEW vecstore.collections IS
    'The collections that you may use. rows_estimated is the statistics'' count; bytes are exact, with indexes';


COMMENT ON VIEW vecstore.fields IS 'The fields of each collection, with their type to Milvus and to PostgreSQL';


COMMENT ON VIEW vecstore.partitions IS
    'The partitions of each collection. bytes are exact, with indexes; NULL while somebody drops or alters the table';


COMMENT ON VIEW vecstore.indexes IS
    'The indexes of each collection: ready, building, or invalid, which is left of a build that was interrupted';


COMMENT ON VIEW vecstore.aliases IS 'The second names of collections: SELECT ... FROM alias.entities';


COMMENT ON FUNCTION vecstore._bytes(regclass) IS 'Used by the views: bytes of a table with its indexes, of an index';


COMMENT ON FUNCTION vecstore._meaning(text) IS 'Used by the views: what the comment of an index of vecstore says';


DO $$
DECLARE
    view text;
    col text;
    meaning text;
BEGIN
    FOR view, col, meaning IN VALUES
        ('aliases', 'name', 'The alias, which is a schema: SELECT ... FROM alias.entities'),
        ('aliases', 'collection', 'The collection it stands for'),
        ('aliases', 'created_at', 'When it was made, or its view made anew'),
        ('partitions', 'collection', 'The collection'),
        ('partitions', 'name', 'Its name to Milvus; where a partition key decides, _default_ and the number of the remainder'),
        ('partitions', 'relation', 'Its table'),
        ('partitions', 'rows_estimated', 'By the statistics; count(*) is exact'),
        ('partitions', 'bytes', 'With indexes and TOAST; NULL while somebody drops or alters the table'),
        ('fields', 'collection', 'The collection'),
        ('fields', 'name', 'The field, and the column'),
        ('fields', 'data_type', 'Milvus''s type'),
        ('fields', 'column_type', 'PostgreSQL''s type'),
        ('fields', 'dim', 'Dimensions of a vector'),
        ('fields', 'max_length', 'Bytes that a string may have'),
        ('fields', 'element_type', 'Milvus''s type of an array''s elements'),
        ('fields', 'max_capacity', 'Elements that an array may have'),
        ('fields', 'primary_key', 'Whether it is the primary key'),
        ('fields', 'auto_id', 'Whether the key is drawn by the library'),
        ('fields', 'partition_key', 'Whether its value decides the partition'),
        ('fields', 'nullable', 'Whether it may be NULL'),
        ('fields', 'default_value', 'What stands for a value that is not given, as SQL'),
        ('fields', 'description', 'What the field is, as it was declared'),
        ('fields', 'position', 'The number of the column'),
        ('indexes', 'collection', 'The collection'),
        ('indexes', 'name', 'The index; NULL while another transaction builds it'),
        ('indexes', 'field', 'The field, or the path into a JSON field, that it is of'),
        ('indexes', 'method', 'PostgreSQL''s access method: hnsw, ivfflat, btree, gin'),
        ('indexes', 'metric', 'How vectors are compared: L2, IP, COSINE, HAMMING, JACCARD'),
        ('indexes', 'half_precision', 'Whether it holds vectors in half precision, as more than 2,000 dimensions ask for'),
        ('indexes', 'state', 'ready, building, or invalid: left of a build that was interrupted'),
        ('indexes', 'build_phase', 'What a build is at, as pg_stat_progress_create_index says'),
        ('indexes', 'build_percent', 'How far a build has come, over all partitions'),
        ('indexes', 'bytes', 'Of all partitions together'),
        ('indexes', 'options', 'What it was built with'),
        ('indexes', 'operator_class', 'PostgreSQL''s operator class'),
        ('collections', 'name', 'The collection, which is a schema: SELECT ... FROM name.entities'),
        ('collections', 'description', 'What it is, as it was declared'),
        ('collections', 'owner', 'The role it belongs to'),
        ('collections', 'partition_key', 'The field whose value decides the partition; NULL where partitions have names'),
        ('collections', 'dynamic', 'Whether entities may have fields that were not declared, in column _meta'),
        ('collections', 'aliases', 'Its other names'),
        ('collections', 'partitions', 'How many it has'),
        ('collections', 'rows_estimated', 'By the statistics; count(*) is exact'),
        ('collections', 'bytes', 'With indexes and TOAST'),
        ('collections', 'properties', 'What Milvus''s clients set of it'),
        ('collections', 'created_at', 'When it was created')
    LOOP
        EXECUTE format('COMMENT ON COLUMN vecstore.%I.%I IS %L', view, col, meaning);
    END LOOP;
END
$$;
