What migratectl clean looks at. Every block only reads.

-- session --
-- Nobody else waits long behind a lock that a removal waits for.
SELECT pg_catalog.set_config('lock_timeout', '2s', false), pg_catalog.set_config('statement_timeout', '60s', false);

-- region --
SELECT pg_catalog.pg_is_in_recovery(),
       EXISTS (SELECT FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'accountdb'),
       EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user AND (r.rolsuper OR r.rolreplication)),
       pg_catalog.has_function_privilege('pg_catalog.pg_replication_origin_drop(text)', 'EXECUTE'),
       (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user);

-- indexes --
-- Invalid indexes: what each is of, what hangs on it, whether this role may drop it (an owner may not in pg_toast), and a session that works on its table:
-- whoever builds an index holds such a lock to the end. (pg_stat_progress_create_index hides other roles' builds.)
SELECT c.oid::bigint, n.nspname, c.relname, tn.nspname, t.relname, c.relkind::text, c.relispartition, i.indisunique,
       i.indisreplident, k.name, k.schema, k.tab, k.contype,
       EXISTS (SELECT FROM pg_catalog.pg_depend AS d
               WHERE d.objid IN (c.oid, t.oid) AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e'),
       pg_catalog.pg_has_role(t.relowner, 'USAGE') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
       CASE WHEN pg_catalog.has_schema_privilege(t.relowner, n.oid, 'USAGE') THEN pg_catalog.pg_get_userbyid(t.relowner) END, b.pid
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
LEFT JOIN LATERAL (
    SELECT o.conname AS name, kn.nspname AS schema, kt.relname AS tab, o.contype::text
    FROM pg_catalog.pg_constraint AS o
    JOIN pg_catalog.pg_class AS kt ON kt.oid = o.conrelid
    JOIN pg_catalog.pg_namespace AS kn ON kn.oid = kt.relnamespace
    WHERE o.conindid = c.oid ORDER BY o.contype = 'f', o.conname LIMIT 1) AS k ON true
LEFT JOIN LATERAL (
    SELECT coalesce(pg_catalog.min(l.pid), 0) AS pid FROM pg_catalog.pg_locks AS l
    WHERE l.locktype = 'relation' AND l.relation IN (c.oid, t.oid) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
      AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
    HAVING pg_catalog.count(*) > 0) AS b ON true
WHERE NOT i.indisvalid AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY n.nspname, c.relname;

-- functions --
-- Trigger functions of a guard or a capture that no trigger calls. Both are made in one transaction with their triggers.
SELECT p.oid::bigint, p.proname, pg_catalog.pg_has_role(p.proowner, 'USAGE'), pg_catalog.pg_get_userbyid(p.proowner)
FROM pg_catalog.pg_proc AS p
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname = 'accountdb'
WHERE p.proname ~ '^(guard|bury|capture)_' AND p.pronargs = 0 AND p.prosecdef
  AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgfoid = p.oid)
ORDER BY p.proname;

-- fences --
-- Fence triggers, then the fence function where no trigger calls it (no table).
SELECT f.oid, f.schema, f.tab, f.may, f.owner
FROM (SELECT t.oid::bigint AS oid, n.nspname AS schema, c.relname AS tab,
             pg_catalog.pg_has_role(c.relowner, 'USAGE') AS may, pg_catalog.pg_get_userbyid(c.relowner) AS owner
      FROM pg_catalog.pg_trigger AS t
      JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
      JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.pronamespace AND pn.nspname = 'accountdb'
      WHERE t.tgname = 'accountdb_fence' AND NOT t.tgisinternal AND t.tgparentid = 0
      UNION ALL
      SELECT p.oid::bigint, NULL, NULL, pg_catalog.pg_has_role(p.proowner, 'USAGE'), pg_catalog.pg_get_userbyid(p.proowner)
      FROM pg_catalog.pg_proc AS p
      JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname = 'accountdb'
      WHERE p.proname = 'fence' AND p.pronargs = 0 AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgfoid = p.oid AND t.tgname <> 'accountdb_fence')
     ) AS f
ORDER BY f.schema, f.tab;

-- migrating --
-- The session that holds the lock of a migration; no row when nobody does.
SELECT l.pid FROM pg_catalog.pg_locks AS l
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
  AND ((l.classid::bigint << 32) | l.objid::bigint) = %(key)s
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database());

-- readable --
-- Which of accountdb's own tables are there, and whether this role may read and delete in them.
SELECT c.relname, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'DELETE'),
       pg_catalog.pg_get_userbyid(c.relowner)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'accountdb'
WHERE c.relkind = 'r' AND c.relname IN ('change_capture', 'change_reader', 'pending_subscription', 'node');

-- gone --
-- Of one of pgsync's tables: the tables that its rows are about and that are not there.
SELECT DISTINCT k.table_schema, k.table_name FROM accountdb.{table} AS k
WHERE {gone}
ORDER BY 1, 2;

-- is_gone --
NOT EXISTS (
    SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = k.table_schema AND c.relname = k.table_name)

-- forget --
DELETE FROM accountdb.{table} AS k WHERE k.table_schema = {schema_name} AND k.table_name = {table_name} AND {gone}

-- pending --
-- Subscriptions that wait for a provider in a mode that this region is not in.
SELECT p.name, p.mode, o.mode FROM accountdb.pending_subscription AS p, accountdb.node AS o
WHERE p.mode <> o.mode ORDER BY p.name;

-- forget_pending --
DELETE FROM accountdb.pending_subscription AS p
WHERE p.name = {name} AND p.mode <> (SELECT o.mode FROM accountdb.node AS o)

-- guarded --
SELECT pg_catalog.count(DISTINCT t.tgrelid)::int FROM pg_catalog.pg_trigger AS t
WHERE t.tgname = 'accountdb_guard' AND NOT t.tgisinternal AND t.tgparentid = 0;

-- scratches --
-- Scratch databases: who is connected, the age by the commit that made it where the server notes those, whether an
-- interrupted DROP DATABASE has left it unusable, how many transactions it has seen.
SELECT d.oid::bigint, d.datname, pg_catalog.pg_has_role(d.datdba, 'USAGE'), pg_catalog.pg_get_userbyid(d.datdba),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a WHERE a.datid = d.oid)::int,
       extract(epoch FROM pg_catalog.clock_timestamp()
               - CASE WHEN pg_catalog.current_setting('track_commit_timestamp') = 'on'
                      THEN pg_catalog.pg_xact_commit_timestamp(d.xmin) END)::float8,
       d.datconnlimit = -2,
       coalesce(pg_catalog.pg_stat_get_db_xact_commit(d.oid) + pg_catalog.pg_stat_get_db_xact_rollback(d.oid), 0)
FROM pg_catalog.pg_database AS d
WHERE d.datname ~ %(pattern)s AND NOT d.datistemplate AND d.datname <> pg_catalog.current_database()
ORDER BY d.datname;

-- may_stat --
SELECT pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text,boolean)', 'EXECUTE');

-- age --
-- The age of a database by the file that its creation writes once.
SELECT extract(epoch FROM pg_catalog.clock_timestamp()
               - (pg_catalog.pg_stat_file('base/' || %(oid)s::text || '/PG_VERSION', true)).modification)::float8;

-- triggers --
-- Triggers on tables of public that are disabled, and accountdb's own in whatever mode; foreign keys' own with their key.
SELECT c.oid::bigint, n.nspname, c.relname, t.tgname, t.tgenabled::text, t.tgisinternal, pn.nspname, p.proname,
       k.conname, pg_catalog.pg_has_role(c.relowner, 'USAGE'), pg_catalog.pg_get_userbyid(c.relowner)
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.pronamespace
LEFT JOIN pg_catalog.pg_constraint AS k ON k.oid = t.tgconstraint
WHERE n.nspname IN ('public', 'accountdb') AND (t.tgenabled = 'D' OR pn.nspname = 'accountdb')
ORDER BY n.nspname, c.relname, t.tgname;

-- slots --
-- Logical slots of this database that a subscription may read: how long it is since somebody did (PostgreSQL 17), and
-- how much log each keeps.
SELECT s.slot_name, s.plugin, s.active, coalesce(s.wal_status = 'lost', false),
       coalesce(pg_catalog.to_jsonb(s) ->> 'synced', 'false')::boolean, s.confirmed_flush_lsn::text,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint,
       extract(epoch FROM pg_catalog.clock_timestamp()
               - (pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_type = 'logical' AND NOT s.temporary AND s.database = pg_catalog.current_database()
  AND s.plugin IN ('pgoutput', 'pglogical_output')
ORDER BY s.slot_name;

-- drop_slot --
SELECT pg_catalog.pg_drop_replication_slot(s.slot_name) FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = {name} AND NOT s.active

-- subscriptions --
-- Subscriptions of all databases of this server: the catalog is theirs together.
SELECT s.oid::bigint, s.subname, s.subslotname FROM pg_catalog.pg_subscription AS s;

-- origins --
SELECT o.roident::bigint, o.roname FROM pg_catalog.pg_replication_origin AS o
WHERE o.roname LIKE 'pg\_%' OR o.roname LIKE 'pgl\_%' ORDER BY o.roname;

-- databases --
SELECT pg_catalog.current_database(), pg_catalog.array_agg(d.datname::text) FROM pg_catalog.pg_database AS d;

-- drop_origin --
SELECT pg_catalog.pg_replication_origin_drop({name})

-- nodes --
-- Nodes of pglogical that are neither this one nor the provider of a subscription.
SELECT n.node_id::bigint, n.node_name FROM pglogical.node AS n
WHERE NOT EXISTS (SELECT FROM pglogical.local_node AS l WHERE l.node_id = n.node_id)
  AND NOT EXISTS (SELECT FROM pglogical.subscription AS s WHERE n.node_id IN (s.sub_origin, s.sub_target))
ORDER BY n.node_name;

-- drop_node --
SELECT pglogical.drop_node({name})
