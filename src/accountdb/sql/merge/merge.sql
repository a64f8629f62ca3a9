Writing rows into one region, by batches out of a staging table. Names in braces are filled in with psycopg.sql.

-- be_worker --
SELECT pg_catalog.set_config('session_replication_role', 'replica', false);

-- be_ordinary --
-- The row contract's triggers keep what a row carries, and the guard is asked.
SELECT pg_catalog.set_config('accountdb.apply', 'on', false);

-- timeouts --
-- The second one for a client that is there and says no more: nobody waits for its locks for ever.
SELECT pg_catalog.set_config('lock_timeout', %(lock)s, false),
       pg_catalog.set_config('idle_in_transaction_session_timeout', %(idle)s, false);

-- origin_prefix --
-- Origins belong to the whole server: those of this database, by their names.
SELECT pg_catalog.format('accountdb_merge_%s_', d.oid) FROM pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database();

-- origins --
SELECT o.roname FROM pg_catalog.pg_replication_origin AS o WHERE pg_catalog.starts_with(o.roname, %(prefix)s);

-- make_origin --
SELECT pg_catalog.pg_replication_origin_create(%(origin)s)
WHERE pg_catalog.pg_replication_origin_oid(%(origin)s) IS NULL;

-- use_origin --
SELECT pg_catalog.pg_replication_origin_session_setup(%(origin)s);

-- leave_origin --
SELECT pg_catalog.pg_replication_origin_session_reset();

-- drop_origin --
SELECT pg_catalog.pg_replication_origin_drop(%(origin)s)
WHERE pg_catalog.pg_replication_origin_oid(%(origin)s) IS NOT NULL;

-- was_judged --
SELECT pg_catalog.current_setting('accountdb.judged', true);

-- judged --
-- For the rest of this transaction the guards are not asked, or are again.
SELECT pg_catalog.set_config('accountdb.judged', %(judged)s, true);

-- stage --
CREATE TEMP TABLE IF NOT EXISTS {new} ON COMMIT DELETE ROWS AS
SELECT 0::bigint AS accountdb_n, {columns} FROM {table} AS t WITH NO DATA;

-- empty_stage --
TRUNCATE {stage};

-- insert_new --
-- Rows that are not here: no value is taken, no parent missing, no tombstone says that they are dead.
INSERT INTO {table} AS t ({columns}) OVERRIDING SYSTEM VALUE
SELECT {staged} FROM {stage} AS s
WHERE NOT EXISTS (SELECT FROM accountdb.tombstone AS d
                  WHERE d.row_key = s.uuid AND d.created_at = s.created_at
                    AND d.table_schema = %(schema)s AND d.table_name = %(table)s)
  {parents}
ORDER BY s.uuid
ON CONFLICT DO NOTHING
{returning};

-- returning --
RETURNING t.uuid::text, ARRAY[t.version::text, t.updated_at::text, t.origin_node]

-- stamps --
SELECT t.uuid::text, ARRAY[t.version::text, t.updated_at::text, t.origin_node] FROM {table} AS t;

-- leftover --
SELECT s.uuid::text FROM {stage} AS s WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE t.uuid = s.uuid);

-- parent --
-- The lock keeps the parent from being deleted in between, as a foreign key would.
AND (({empty}) OR EXISTS (SELECT FROM {parent} AS p WHERE {match} FOR KEY SHARE))

-- rivals --
-- Who holds a value that a staged row brings.
SELECT s.uuid, r.uuid
FROM {staged} AS s
CROSS JOIN LATERAL (SELECT t.uuid FROM {table} AS t WHERE {match} LIMIT 1) AS r
WHERE r.uuid <> s.uuid;

-- vacate --
-- Rows that are as they were seen.
UPDATE {table} AS t SET {changes}
FROM unnest(%(keys)s::text[]::uuid[], %(versions)s::text[]::bigint[], %(updated)s::text[]::timestamptz[], %(origins)s::text[])
     AS w (uuid, version, updated_at, origin_node)
WHERE t.uuid = w.uuid AND (t.version, t.updated_at, t.origin_node) = (w.version, w.updated_at, w.origin_node)
RETURNING t.uuid;

-- lowest --
SELECT t.uuid FROM {table} AS t WHERE t.uuid = ANY (%(keys)s) AND t.version < 0;

-- missing --
-- A row may refer to itself, before it is there.
SELECT s.uuid, {value} FROM {stage} AS s
WHERE NOT ({empty}) AND s.uuid <> {value} AND NOT EXISTS (SELECT FROM {parent} AS p WHERE {match});

-- without --
UPDATE {stage} AS s SET {empty}, version = -1 WHERE s.uuid = %(uuid)s;

-- unstage --
DELETE FROM {stage} AS s WHERE s.uuid = ANY (%(keys)s);

-- insert_judged --
-- The guard makes an UPDATE of the INSERT where the row stands here, and judges by what stands here by then.
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {staged} FROM {stage} AS s ORDER BY s.accountdb_n;

-- merged_into --
-- For the tombstones that follow in this transaction: the account that the row was merged into.
SELECT pg_catalog.set_config('accountdb.merged_into', coalesce(%s::text, ''), true);

-- seen --
-- What each region knows of the ends of some rows.
SELECT t.row_key, t.created_at, t.deleted_at, t.version, t.updated_at, t.origin_node
FROM accountdb.tombstone AS t
WHERE t.table_schema = %(schema)s AND t.table_name = %(table)s AND t.row_key = ANY (%(keys)s);

-- bury --
-- The tombstone may stand in the other region alone: without one here the guard would hold the delete
-- for one of another life. It says what the deleter saw, by which the guard tells a change that is lost.
SELECT accountdb.bury({schema_name}, {table_name}, t.uuid, t.created_at, coalesce(%(version)s::bigint, t.version),
                      coalesce(%(updated_at)s::timestamptz, t.updated_at), coalesce(%(origin_node)s::text, t.origin_node))
FROM {table} AS t WHERE t.uuid = %(uuid)s AND t.created_at = %(created_at)s;

-- keep_changed --
-- A dead copy that is replaced in its place, and that was changed after its deleter had seen it, is on record.
SELECT accountdb.record_conflict('update_delete', {schema_name}, {table_name}, t.uuid, 'delete_wins', NULL,
                                 accountdb.row_content(t.*, {generated}))
FROM {table} AS t
WHERE t.uuid = %(uuid)s AND t.created_at = %(created_at)s
  AND (t.version, t.updated_at, t.origin_node)
      IS DISTINCT FROM (%(version)s::bigint, %(updated_at)s::timestamptz, %(origin_node)s::text);

-- keep_overwritten --
-- A copy that was last written here may never have reached the other region, whose newer copy replaces it: it is on
-- record. Of a row that came from there, or that is older here because it waits for the stream, nothing is lost.
-- Of two copies of one version the guard would tell, but not where the one that stands has made room for others first.
WITH held AS (SELECT t.* FROM {table} AS t JOIN {stage} AS s ON s.uuid = t.uuid
              WHERE t.uuid <> ALL (%(reborn)s) AND t.version >= 0
                AND (t.version = s.version
                     OR t.version < s.version AND t.origin_node = accountdb.node_name()
                     -- Not where both are one write, of which a guard has raised the version when it took a value from it.
                     AND (t.updated_at, t.origin_node) IS DISTINCT FROM (s.updated_at, s.origin_node) {unseen})
              FOR UPDATE OF t)
SELECT accountdb.record_conflict('update_update', {schema_name}, {table_name}, t.uuid, 'row_order',
           accountdb.row_content(pg_catalog.jsonb_populate_record(NULL::{table}, pg_catalog.to_jsonb(s)), {generated}),
           accountdb.row_content(t, {generated}))
FROM held AS t JOIN {stage} AS s ON s.uuid = t.uuid;

-- keep_losing --
-- What another region wrote without having seen the copy that stands here, and that loses, is on record.
SELECT accountdb.record_conflict('update_update', {schema_name}, {table_name}, t.uuid, 'row_order',
           accountdb.row_content(t, {generated}),
           accountdb.row_content(pg_catalog.jsonb_populate_record(NULL::{table}, pg_catalog.to_jsonb(s)), {generated}))
FROM {table} AS t JOIN {stage} AS s ON s.uuid = t.uuid
-- A node that was never given a name calls itself local, as the other one may.
WHERE (s.origin_node <> accountdb.node_name() OR s.origin_node = 'local')
  AND (t.updated_at, t.origin_node) IS DISTINCT FROM (s.updated_at, s.origin_node);

-- touch --
-- Written as it is, which those who follow this table see.
UPDATE {table} AS t SET updated_at = t.updated_at WHERE t.uuid = ANY (%(keys)s::text[]::uuid[]) AND NOT (true {unseen});

-- touch_dead --
UPDATE accountdb.tombstone AS d SET deleted_at = d.deleted_at
WHERE d.row_key = ANY (%(keys)s::text[]::uuid[]) AND d.table_schema = %(schema)s AND d.table_name = %(table)s;

-- delete --
DELETE FROM {table} AS t WHERE t.uuid = %(uuid)s AND t.created_at = %(created_at)s;

-- close --
-- An orphan, or a row that could not be stored, that stands here by now needs nobody any more.
INSERT INTO accountdb.resolution (conflict_id, action)
SELECT c.id, 'healed'
FROM accountdb.conflict AS c JOIN {table} AS t ON t.uuid = c.row_key
WHERE c.state = 'open' AND c.kind IN ('orphan', 'unknown', 'skipped')
  AND c.table_schema = %(schema)s AND c.table_name = %(table)s
  AND t.version >= (c.loser ->> 'version')::bigint
  AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)
ON CONFLICT DO NOTHING;

-- close_gone --
-- A delete that was skipped here, of a row that is gone by now.
INSERT INTO accountdb.resolution (conflict_id, action)
SELECT c.id, 'healed'
FROM accountdb.conflict AS c
WHERE c.state = 'open' AND c.kind = 'skipped' AND c.rule = 'skipped_delete'
  AND c.table_schema = %(schema)s AND c.table_name = %(table)s
  AND NOT EXISTS (SELECT FROM {table} AS t WHERE t.uuid = c.row_key)
  AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)
ON CONFLICT DO NOTHING;

-- source_range --
-- Whole rows of one stretch of keys, without those that are dead here.
COPY (SELECT {columns} FROM {table} AS t
      WHERE {range} AND NOT EXISTS (SELECT FROM accountdb.tombstone AS d
                                    WHERE d.row_key = t.uuid AND d.created_at = t.created_at
                                      AND d.table_schema = %(schema)s AND d.table_name = %(table)s)
      ORDER BY t.uuid)
TO STDOUT (FORMAT {format});

-- source_keys --
COPY (SELECT {columns} FROM {table} AS t WHERE t.uuid = ANY (%(keys)s::uuid[]) ORDER BY t.uuid) TO STDOUT (FORMAT {format});

-- receive --
COPY {into} ({columns}) FROM STDIN (FORMAT {format});

-- lock_empty --
LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;

-- holds_rows --
SELECT EXISTS (SELECT FROM {table});

-- remove_dead --
-- What was loaded whole and is dead in this region: left to the rounds that follow.
DELETE FROM {table} AS t USING accountdb.tombstone AS d
WHERE d.row_key = t.uuid AND d.created_at = t.created_at
  AND d.table_schema = %(schema)s AND d.table_name = %(table)s;

-- remove_orphans --
-- What has lost its parent since it was read.
DELETE FROM {table} AS t
WHERE NOT ({empty}) AND NOT EXISTS (SELECT FROM {parent} AS p WHERE {match});

-- guard_off --
ALTER TABLE {table} DISABLE TRIGGER accountdb_guard;

-- guard_on --
ALTER TABLE {table} ENABLE REPLICA TRIGGER accountdb_guard;

-- count_rows --
SELECT pg_catalog.count(*) FROM {table};

-- owned --
SELECT c.relkind = 'r' AND pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass;

-- analyze --
ANALYZE {table};
