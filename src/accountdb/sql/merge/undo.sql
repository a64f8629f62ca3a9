What a merge changes, remembered and taken back.

-- identity --
SELECT c.system_identifier::text || '/' || d.oid::text
FROM pg_catalog.pg_control_system() AS c, pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database();

-- rights --
GRANT SET ON PARAMETER session_replication_role TO {role};
GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_drop(text),
    pg_replication_origin_oid(text), pg_replication_origin_session_setup(text) TO {role};

-- rows --
SELECT t.uuid::text, ARRAY[{values}]::text[], ARRAY[t.version::text, t.updated_at::text, t.origin_node]
FROM {table} AS t WHERE t.uuid = ANY (%(keys)s::text[]::uuid[]) ORDER BY t.uuid;

-- children --
SELECT c.uuid FROM {child} AS c JOIN {table} AS p ON {match} WHERE p.uuid = ANY (%(keys)s::text[]::uuid[]);

-- tombstones --
SELECT ARRAY[t.table_schema, t.table_name, t.row_key::text, t.created_at::text, t.node]
FROM accountdb.tombstone AS t WHERE t.row_key = ANY (%(keys)s::text[]::uuid[]);

-- as_left --
-- Rows that are as the merge left them.
SELECT t.uuid::text FROM {table} AS t
JOIN unnest(%(keys)s::text[]::uuid[], %(versions)s::text[]::bigint[], %(updated)s::text[]::timestamptz[], %(origins)s::text[])
     AS w (uuid, version, updated_at, origin_node) ON t.uuid = w.uuid
WHERE (t.version, t.updated_at, t.origin_node) = (w.version, w.updated_at, w.origin_node);

-- take_back_new --
DELETE FROM {table} AS t WHERE t.uuid = ANY (%(keys)s::text[]::uuid[]);

-- parents --
SELECT DISTINCT t.uuid::text FROM {table} AS t JOIN {child} AS c ON {match}
WHERE t.uuid = ANY (%(keys)s::text[]::uuid[]) AND {others};

-- children_any --
true

-- children_but --
-- Those that go too do not count.
c.uuid <> ALL (%(keys)s::text[]::uuid[])

-- hold --
-- Nobody gives these rows a child until this transaction ends.
SELECT FROM {table} AS t WHERE t.uuid = ANY (%(keys)s::text[]::uuid[]) FOR UPDATE;

-- with_parent --
AND (({empty}) OR {itself} OR EXISTS (SELECT FROM {parent} AS p WHERE {match} FOR KEY SHARE))

-- take_back_changed --
UPDATE {table} AS t SET ({columns}) = ROW ({staged})
FROM {stage} AS s
WHERE t.uuid = s.uuid AND t.uuid = ANY (%(keys)s::text[]::uuid[])
  {parents}
RETURNING t.uuid::text;

-- clear_stage --
DELETE FROM {stage};

-- bring_back --
INSERT INTO {table} AS t ({columns}) OVERRIDING SYSTEM VALUE
SELECT {staged} FROM {stage} AS s
WHERE s.uuid = ANY (%(keys)s::text[]::uuid[])
  {parents}
ON CONFLICT (uuid) DO NOTHING
RETURNING t.uuid::text;

-- unbury --
DELETE FROM accountdb.tombstone AS t
USING unnest(%(schemas)s::text[], %(tables)s::text[], %(keys)s::text[]::uuid[], %(lives)s::text[]::timestamptz[], %(nodes)s::text[])
      AS w (table_schema, table_name, row_key, created_at, node)
WHERE t.row_key = w.row_key AND t.table_schema = w.table_schema AND t.table_name = w.table_name
  AND t.created_at = w.created_at AND t.node = w.node;
