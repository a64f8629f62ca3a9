What migrations read and write beside their files.

-- shape --
-- Whether there is a ledger, and whether it is of the newest form.
SELECT pg_catalog.to_regclass('accountdb.migration') IS NOT NULL,
       pg_catalog.to_regclass('accountdb.migration_progress') IS NOT NULL;

-- ledger --
SELECT m.version, m.name, m.checksum, m.series FROM accountdb.migration AS m ORDER BY m.series, m.version;

-- old_ledger --
SELECT m.version, m.name, m.checksum, 'accountdb' FROM accountdb.migration AS m ORDER BY m.version;

-- last_run --
-- What was committed last, step by step, if it was committed in several regions. "at" is the same in all of
-- them only by the run.
SELECT l.run, l.position, l.series, l.version, l.name, l.direction, l.checksum, l.regions,
       l.fingerprint_before, l.fingerprint_after
FROM accountdb.migration_log AS l
WHERE l.run = (SELECT n.run FROM accountdb.migration_log AS n ORDER BY n.logged_at DESC, n.position DESC LIMIT 1)
ORDER BY l.position;

-- has_run --
SELECT EXISTS (SELECT FROM accountdb.migration_log AS l WHERE l.run = %(run)s);

-- apply --
INSERT INTO accountdb.migration (series, version, name, checksum, applied_by, seconds)
VALUES (%(series)s, %(version)s, %(name)s, %(checksum)s, session_user, %(seconds)s);

-- take_back --
DELETE FROM accountdb.migration AS m WHERE m.series = %(series)s AND m.version = %(version)s;

-- log --
INSERT INTO accountdb.migration_log
    (run, position, series, version, name, direction, checksum, regions, seconds, fingerprint_before, fingerprint_after)
VALUES (%(run)s, %(position)s, %(series)s, %(version)s, %(name)s, %(direction)s, %(checksum)s, %(regions)s,
        %(seconds)s, %(before)s, %(after)s);

-- progress --
SELECT p.begun, p.done, p.checksum FROM accountdb.migration_progress AS p
WHERE p.series = %(series)s AND p.version = %(version)s AND p.direction = %(direction)s;

-- begun --
SELECT EXISTS (SELECT FROM accountdb.migration_progress);

-- note_progress --
INSERT INTO accountdb.migration_progress AS p (series, version, direction, checksum, begun, done)
VALUES (%(series)s, %(version)s, %(direction)s, %(checksum)s, %(begun)s, %(done)s)
ON CONFLICT (series, version, direction) DO UPDATE
    SET checksum = excluded.checksum, begun = excluded.begun, done = excluded.done;

-- forget_progress --
DELETE FROM accountdb.migration_progress AS p
WHERE p.series = %(series)s AND p.version = %(version)s AND p.direction = %(direction)s;

-- index --
-- An index by the table that it is on: whether it is valid, and whether another session builds it now.
SELECT i.indisvalid AND i.indisready,
       EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS b
               WHERE b.index_relid = x.oid AND b.pid <> pg_catalog.pg_backend_pid()),
       n.nspname, x.relname
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class AS x ON x.relnamespace = n.oid AND x.relname = %(name)s
JOIN pg_catalog.pg_index AS i ON i.indexrelid = x.oid
WHERE c.oid = pg_catalog.to_regclass(%(table)s);

-- golang --
-- What golang-migrate has noted: its version, and whether a file failed half-way.
SELECT s.version, s.dirty FROM public.schema_migrations AS s LIMIT 1;

-- has_golang --
-- Its ledger has these two columns; another tool's table of this name is none of ours.
SELECT pg_catalog.count(*) = 2 FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = pg_catalog.to_regclass('public.schema_migrations') AND a.attnum > 0 AND NOT a.attisdropped
  AND (a.attname, a.atttypid) IN (('version', 'pg_catalog.int8'::regtype), ('dirty', 'pg_catalog.bool'::regtype));

-- locks --
-- What this transaction has locked, and how; also what it has dropped since.
SELECT l.relation, l.mode
FROM pg_catalog.pg_locks AS l
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
ORDER BY 1, 2;

-- relations --
-- The relations of a database, and where their rows lie: another file means that all were written again.
SELECT c.oid, n.nspname, c.relname, coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'S', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema';

-- touched --
-- The tables of public in which this transaction has written rows.
SELECT s.relname FROM pg_catalog.pg_stat_xact_user_tables AS s
WHERE s.schemaname = 'public' AND s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0
ORDER BY 1;

-- blockers --
-- Who keeps a session waiting: process, role, program, state, since when it has its transaction, what it said last.
SELECT a.pid, a.usename, a.application_name, a.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8
FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(%(pid)s)) AS b (pid)
JOIN pg_catalog.pg_stat_activity AS a ON a.pid = b.pid
ORDER BY a.xact_start;
