Looking at the transaction that a stream stands at, and getting past it. Names in braces are filled in with psycopg.sql.

-- log_tail --
SELECT pg_catalog.pg_read_file(f.path, greatest(s.size - 262144, 0), 262144)
FROM pg_catalog.pg_current_logfile() AS f (path), LATERAL pg_catalog.pg_stat_file(f.path) AS s
WHERE f.path IS NOT NULL;

-- origin_number --
SELECT o.roident::int FROM pg_catalog.pg_replication_origin AS o WHERE o.roname = %(origin)s;

-- origin_native --
SELECT 'pg_' || s.oid::text FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid AND d.datname = pg_catalog.current_database()
WHERE s.subname = %(name)s;

-- applied --
-- Up to where the provider's log has been applied; 0/0 where nothing has been.
SELECT coalesce((SELECT t.remote_lsn FROM pg_catalog.pg_replication_origin_status AS t WHERE t.external_id = %(origin)s),
                '0/0')::text;

-- slot_state --
-- Whether a slot can still be read, who reads it, and its plugin.
SELECT coalesce(s.wal_status = 'lost', false), s.active_pid, s.plugin
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = %(slot)s AND s.database = pg_catalog.current_database();

-- peek --
SELECT p.data FROM pg_catalog.pg_logical_slot_peek_binary_changes(%(slot)s, NULL, %(most)s, VARIADIC %(options)s::text[]) AS p;

-- hold_origin --
-- Its worker cannot start while this session has it, and with the session it is free again.
SELECT pg_catalog.pg_replication_origin_session_setup(%(origin)s);

-- held --
SELECT pg_catalog.pg_replication_origin_session_progress(true)::text;

-- commit_past --
-- One message, and nothing between the two: a transaction that fails after its origin was set moves the origin too.
SELECT pg_catalog.pg_replication_origin_xact_setup({finished}, {committed_at});
COMMIT

-- rights --
GRANT SET ON PARAMETER session_replication_role TO {role};
GRANT EXECUTE ON FUNCTION pg_replication_origin_session_setup(text), pg_replication_origin_session_progress(boolean),
    pg_replication_origin_xact_setup(pg_lsn, timestamptz) TO {role};
GRANT SELECT ON pg_replication_origin_status TO {role};

-- insert --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {source};

-- insert_own --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {source} ON CONFLICT DO NOTHING;

-- update --
UPDATE {table} AS t SET ({columns}) = ROW ({values}) FROM {source} WHERE {match};

-- delete --
DELETE FROM {table} AS t WHERE {match};

-- stands --
SELECT EXISTS (SELECT FROM {table} AS t WHERE {match});

-- content --
-- What of a row is here, as it is kept of every conflict, and the columns that this table does not have.
SELECT (coalesce((SELECT pg_catalog.jsonb_object_agg(e.key, e.value)
                  FROM {source}, LATERAL pg_catalog.jsonb_each(accountdb.row_content(n.*)) AS e
                  WHERE e.key = ANY (%(columns)s::text[])), '{{}}') || %(more)s::jsonb)::text;

-- record --
SELECT accountdb.record_conflict(%(kind)s, %(schema)s, %(table)s, %(key)s, %(rule)s, NULL, %(loser)s::jsonb, 'open',
                                 %(detail)s, %(identity)s::jsonb);

-- check_constraints --
SET CONSTRAINTS ALL IMMEDIATE;

-- timeouts --
SELECT pg_catalog.set_config('lock_timeout', '10s', false),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '5min', false);
