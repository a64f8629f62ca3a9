What both engines share: the node, the followers, and the facts that a join checks.

-- node --
SELECT n.name, n.mode FROM accountdb.node AS n;

-- set_node --
INSERT INTO accountdb.node AS n (name, mode) VALUES (%(node)s, %(mode)s)
ON CONFLICT (singleton) DO UPDATE SET name = excluded.name, mode = excluded.mode
    WHERE (n.name, n.mode) IS DISTINCT FROM (excluded.name, excluded.mode);

-- missing_own --
SELECT pg_catalog.format('%%I.%%I', w.schema, w.name)
FROM ROWS FROM (pg_catalog.unnest(%(schemas)s::text[]), pg_catalog.unnest(%(names)s::text[])) AS w (schema, name)
WHERE pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', w.schema, w.name)) IS NULL;

-- pending --
SELECT p.name FROM accountdb.pending_subscription AS p ORDER BY p.name;

-- waiting --
SELECT p.name, p.provider, p.provider_node FROM accountdb.pending_subscription AS p ORDER BY p.name;

-- identity --
-- What tells one database from every other, whatever its address.
SELECT c.system_identifier::text || '/' || d.oid::text
FROM pg_catalog.pg_control_system() AS c, pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database();

-- add_pending --
INSERT INTO accountdb.pending_subscription AS p (name, mode, provider, provider_node)
VALUES (%(name)s, %(mode)s, %(provider)s, %(provider_node)s)
ON CONFLICT (name) DO UPDATE SET mode = excluded.mode, provider = excluded.provider, provider_node = excluded.provider_node
    WHERE (p.mode, p.provider, p.provider_node)
          IS DISTINCT FROM (excluded.mode, excluded.provider, excluded.provider_node);

-- drop_pending --
DELETE FROM accountdb.pending_subscription AS p
WHERE p.name = coalesce(%(name)s::text, p.name) RETURNING p.name;

-- followers --
-- Logical slots of this database with an engine's plugin: active, bytes behind, seconds behind, lost.
-- A connected follower says itself how far behind it is, and nothing when it is idle and level. Of
-- one that is away: since when (PostgreSQL 17), else the age of the oldest transaction kept for it.
SELECT s.slot_name, s.active,
       greatest(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.confirmed_flush_lsn), 0)::bigint,
       CASE
           WHEN r.pid IS NOT NULL THEN coalesce(extract(epoch FROM r.replay_lag), 0)
           WHEN s.active THEN NULL
           ELSE extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(
               (pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz,
               CASE WHEN pg_catalog.current_setting('track_commit_timestamp') = 'on'
                    THEN coalesce(pg_catalog.pg_xact_commit_timestamp(s.catalog_xmin), pg_catalog.clock_timestamp()) END))
       END::float8,
       coalesce(s.wal_status = 'lost', false)
FROM pg_catalog.pg_replication_slots AS s
LEFT JOIN pg_catalog.pg_stat_replication AS r ON r.pid = s.active_pid
WHERE s.slot_type = 'logical' AND NOT s.temporary
  AND s.database = pg_catalog.current_database() AND s.plugin = %(plugin)s
ORDER BY s.slot_name;

-- facts --
SELECT pg_catalog.current_setting('server_version_num')::int,
       pg_catalog.current_setting('wal_level'),
       pg_catalog.current_setting('track_commit_timestamp'),
       pg_catalog.current_setting('pglogical.synchronous_commit', true) IS NOT NULL,
       pg_catalog.current_setting('max_replication_slots')::int,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots)::int,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_origin)::int,
       pg_catalog.current_setting('max_wal_senders')::int,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication)::int,
       pg_catalog.current_setting('max_worker_processes')::int,
       pg_catalog.current_setting('max_logical_replication_workers')::int,
       coalesce(pg_catalog.current_setting('pglogical.conflict_resolution', true), ''),
       EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pglogical'),
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE');

-- mark --
SELECT pg_catalog.pg_logical_emit_message(true, 'accountdb', '')::text;

-- confirmed --
-- Whether all followers of this database, and one at least, have confirmed a position.
SELECT pg_catalog.bool_and(s.active AND s.confirmed_flush_lsn >= %(position)s::pg_catalog.pg_lsn)
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_type = 'logical' AND NOT s.temporary AND s.database = pg_catalog.current_database()
  AND s.plugin IN ('pgoutput', 'pglogical_output');

-- end_slot --
-- A slot of this database that nobody reads from; no row where there is none.
SELECT pg_catalog.pg_drop_replication_slot(s.slot_name) FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = %(slot)s AND s.database = pg_catalog.current_database() AND NOT s.active;

-- slot_user --
-- Whether a slot of this database is there, and the process that reads from it.
SELECT s.active_pid FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = %(slot)s AND s.database = pg_catalog.current_database();

-- end_sender --
SELECT pg_catalog.pg_terminate_backend(s.active_pid) FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = %(slot)s AND s.database = pg_catalog.current_database() AND s.active_pid IS NOT NULL;

-- statement_timeout --
SELECT pg_catalog.set_config('statement_timeout', %(wait)s, false);
