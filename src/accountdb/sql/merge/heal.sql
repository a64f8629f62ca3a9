The healing pass: rows that a conflict or a tombstone names, looked at in both regions.

-- session --
-- Values travel as text: the same text on every server.
SELECT pg_catalog.set_config(s.name, s.value, false)
FROM (VALUES ('TimeZone', 'UTC'), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'iso_8601'),
             ('extra_float_digits', '1'), ('bytea_output', 'hex'), ('search_path', 'pg_catalog'),
             ('session_replication_role', 'replica')) AS s (name, value);

-- named --
-- Both rows of each conflict, and dead rows; within the last seconds, or still open.
SELECT c.table_schema, c.table_name, k.row_key
FROM accountdb.conflict AS c
CROSS JOIN LATERAL (VALUES (c.row_key), ((c.winner ->> 'uuid')::uuid)) AS k (row_key)
WHERE k.row_key IS NOT NULL
  AND (c.recorded_at > pg_catalog.clock_timestamp() - %(seconds)s * interval '1 second'
       OR c.state = 'open' AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id))
UNION
SELECT t.table_schema, t.table_name, t.row_key
FROM accountdb.tombstone AS t
WHERE t.deleted_at > pg_catalog.clock_timestamp() - %(seconds)s * interval '1 second';

-- dead --
SELECT t.row_key, t.created_at, t.winner FROM accountdb.tombstone AS t
WHERE t.table_schema = %(schema)s AND t.table_name = %(table)s AND t.row_key = ANY (%(keys)s);

-- copies --
SELECT t.uuid, t.created_at, t.version, t.updated_at, t.origin_node,
       md5(accountdb.row_content(t.*, {generated})::text), ARRAY[{values}]::text[]
FROM {table} AS t WHERE t.uuid = ANY (%(keys)s);

-- insert --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({values}) ON CONFLICT (uuid) DO NOTHING;

-- update --
UPDATE {table} AS t SET ({columns}) = ROW ({values}) WHERE t.uuid = %s;

-- merged_into --
-- For the tombstones that follow in this transaction: the account that the row was merged into.
SELECT pg_catalog.set_config('accountdb.merged_into', coalesce(%s::text, ''), true);

-- close --
-- An orphan, or a row that could not be stored, that stands here by now needs nobody any more.
INSERT INTO accountdb.resolution (conflict_id, action)
SELECT c.id, 'healed'
FROM accountdb.conflict AS c JOIN {table} AS t ON t.uuid = c.row_key
WHERE c.state = 'open' AND c.kind IN ('orphan', 'unknown') AND c.row_key = ANY (%(keys)s)
  AND c.table_schema = %(schema)s AND c.table_name = %(table)s
  AND t.version >= (c.loser ->> 'version')::bigint
  AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)
ON CONFLICT DO NOTHING;

-- bury --
-- The tombstone may stand in the other region alone: without one here the guard would hold the
-- delete for one of another life.
SELECT accountdb.bury({schema_name}, {table_name}, t.uuid, t.created_at, t.version, t.updated_at, t.origin_node)
FROM {table} AS t WHERE t.uuid = %s AND t.created_at = %s;

-- delete --
DELETE FROM {table} AS t WHERE t.uuid = %s AND t.created_at = %s;
