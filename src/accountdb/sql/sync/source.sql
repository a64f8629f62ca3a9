What a pass reads, at one snapshot of the source.

-- moment --
SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::numeric,
       pg_catalog.clock_timestamp(),
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_insert_lsn()::text END;

-- written --
-- Whether everything up to a place in the log is where a crash does not take it.
SELECT pg_catalog.pg_current_wal_flush_lsn() >= %(end)s::pg_lsn;

-- write --
-- A commit that waits for the log takes with it all that came before.
SET synchronous_commit = local;
SELECT pg_catalog.pg_logical_emit_message(true, 'accountdb', '');

-- export --
SELECT pg_catalog.pg_export_snapshot();

-- reach --
-- Of an older snapshot: its end, and how far back its horizon lies, in transactions.
SELECT pg_catalog.pg_snapshot_xmax(%(since)s::pg_snapshot)::text::numeric,
       pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::numeric
           - pg_catalog.pg_snapshot_xmin(%(since)s::pg_snapshot)::text::numeric;

-- log_reaches --
-- Whether the log of a table holds everything that is not in an older snapshot of a reader: since it was kept for that
-- reader. And whether the source has forgotten that snapshot, which is newer than all that it was told of.
SELECT coalesce(r.known, false) AND EXISTS (
           SELECT FROM accountdb.change_capture AS c
           WHERE c.table_schema = %(schema)s AND c.table_name = %(table)s
             AND pg_catalog.pg_visible_in_snapshot(c.complete_from, %(since)s::pg_snapshot)),
       coalesce(NOT r.known AND r.ends < pg_catalog.pg_snapshot_xmax(%(since)s::pg_snapshot), false)
FROM (SELECT) AS one LEFT JOIN (
    SELECT %(since)s::text IN (r.passed::text, r.offered::text) AS known, pg_catalog.pg_snapshot_xmax(r.offered) AS ends
    FROM accountdb.change_reader AS r
    WHERE r.job = %(job)s AND r.destination = %(target)s AND r.table_schema = %(schema)s AND r.table_name = %(table)s
) AS r ON true;

-- logged --
-- How much the log has since an older snapshot, and whether the table was emptied as a whole.
SELECT pg_catalog.count(*), coalesce(pg_catalog.bool_or(l.operation = 'T'), false)
FROM accountdb.change_log AS l WHERE {since};

-- since --
l.table_schema = %(schema)s AND l.table_name = %(table)s AND l.xid >= pg_catalog.pg_snapshot_xmin(%(since)s::pg_snapshot)
  AND NOT pg_catalog.pg_visible_in_snapshot(l.xid, %(since)s::pg_snapshot) AND l.origin IS DISTINCT FROM %(target)s

-- by_log --
-- The rows whose keys the log names, as they are by now: there, or gone.
COPY (SELECT {present}, {columns}
      FROM (SELECT DISTINCT {keys} FROM accountdb.change_log AS l WHERE {since} AND l.row_key IS NOT NULL) AS w
      LEFT JOIN {table} AS t ON {match})
TO STDOUT (FORMAT {format});

-- by_keys --
COPY (SELECT {present}, {columns}
      FROM unnest({arrays}) AS a ({names}) CROSS JOIN LATERAL (SELECT {keys}) AS w
      LEFT JOIN {table} AS t ON {match})
TO STDOUT (FORMAT {format});

-- by_xmin --
-- All that was written by transactions at or behind the horizon: by age, because a savepoint's rows bear an id of
-- their own. A row that is there is older than now: with an age below 0 it is so old that ids have begun again since.
-- One that looks new after a whole round of them is found equal.
COPY (SELECT true, {columns} FROM {table} AS t
      WHERE pg_catalog.age(t.xmin) BETWEEN 0 AND pg_catalog.age({horizon}::xid8::xid))
TO STDOUT (FORMAT {format});

-- keys_by_log --
SELECT DISTINCT l.row_key FROM accountdb.change_log AS l WHERE {since} AND l.row_key IS NOT NULL;

-- keys_by_xmin --
SELECT ARRAY[{keys}] FROM {table} AS t WHERE pg_catalog.age(t.xmin) BETWEEN 0 AND pg_catalog.age({horizon}::xid8::xid);

-- buried_by_log --
-- Rows of one table that the log of the tombstones names, by those tombstones' own keys.
SELECT DISTINCT l.row_key[1:1] FROM accountdb.change_log AS l
WHERE {since} AND l.operation <> 'D' AND l.row_key[2] = %(of_schema)s AND l.row_key[3] = %(of_table)s;

-- buried_by_xmin --
SELECT DISTINCT ARRAY[t.row_key::text] FROM accountdb.tombstone AS t
WHERE t.table_schema = %(of_schema)s AND t.table_name = %(of_table)s
  AND pg_catalog.age(t.xmin) BETWEEN 0 AND pg_catalog.age({horizon}::xid8::xid);

-- whole --
COPY (SELECT {columns} FROM {table} AS t ORDER BY {key}) TO STDOUT (FORMAT {format});

-- some --
SELECT pg_catalog.count(*) FROM (SELECT FROM {table} LIMIT {rows}) AS t;

-- about --
SELECT c.reltuples FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass;

-- any --
SELECT EXISTS (SELECT FROM {table});

-- register --
-- Before the first snapshot of this reader, so that nobody lets go of what it will have to read after it.
INSERT INTO accountdb.change_reader (job, destination, table_schema, table_name, passed, offered)
SELECT %(job)s, %(target)s, t.schema, t.name, pg_catalog.pg_current_snapshot(), pg_catalog.pg_current_snapshot()
FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS t (schema, name)
ON CONFLICT (job, destination, table_schema, table_name) DO NOTHING;

-- lasting --
-- What is committed here, and all that was before, is not lost when the server crashes.
SELECT pg_catalog.set_config('synchronous_commit', 'on', true)
WHERE pg_catalog.current_setting('synchronous_commit') = 'off';

-- offer --
-- What this reader has applied, behind which the log may go when all have, and what it is about to apply.
INSERT INTO accountdb.change_reader AS r (job, destination, table_schema, table_name, passed, offered)
VALUES (%(job)s, %(target)s, %(schema)s, %(table)s, %(passed)s::pg_snapshot, %(offered)s::pg_snapshot)
ON CONFLICT (job, destination, table_schema, table_name) DO UPDATE
SET passed = excluded.passed, offered = excluded.offered, seen_at = pg_catalog.clock_timestamp();

-- purge --
DELETE FROM accountdb.change_log AS l
USING (SELECT r.table_schema, r.table_name, pg_catalog.min(pg_catalog.pg_snapshot_xmin(r.passed)::text::numeric)::text::xid8 AS horizon
       FROM accountdb.change_reader AS r GROUP BY 1, 2) AS p
WHERE l.table_schema = p.table_schema AND l.table_name = p.table_name AND l.xid < p.horizon
  AND l.table_schema = %(schema)s AND l.table_name = %(table)s;
