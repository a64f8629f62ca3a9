What one region says of itself. Every role may run all of it: what a role may not see is asked for first.

-- region --
-- The server, this session's rights, and what is there to be asked.
SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_version_num')::int,
       pg_catalog.clock_timestamp(), pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery(),
       -- Not where only this session is: that says nothing about a worker.
       EXISTS (SELECT FROM pg_catalog.pg_settings AS s WHERE s.name = 'default_transaction_read_only' AND s.setting = 'on'
               AND s.source NOT IN ('user', 'database user', 'client', 'session')),
       current_user::text, (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user),
       pg_catalog.to_regclass('accountdb.pending_subscription') IS NOT NULL,
       EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pglogical'),
       (SELECT s.setting::bigint FROM pg_catalog.pg_settings AS s WHERE s.name = 'max_slot_wal_keep_size'),
       pg_catalog.to_regclass('accountdb.heartbeat') IS NOT NULL
           AND pg_catalog.has_table_privilege('accountdb.heartbeat', 'SELECT'),
       pg_catalog.to_regclass('accountdb.last_run') IS NOT NULL
           AND pg_catalog.has_table_privilege('accountdb.last_run', 'SELECT'),
       pg_catalog.to_regclass('accountdb.sync_watermark') IS NOT NULL
           AND pg_catalog.has_table_privilege('accountdb.sync_watermark', 'SELECT'),
       pg_catalog.to_regclass('accountdb.change_log') IS NOT NULL
           AND pg_catalog.has_table_privilege('accountdb.change_log', 'SELECT')
           AND pg_catalog.has_table_privilege('accountdb.change_reader', 'SELECT'),
       pg_catalog.to_regprocedure('accountdb.conflict_counts()') IS NOT NULL
           AND pg_catalog.has_function_privilege('accountdb.conflict_counts()', 'EXECUTE'),
       pg_catalog.to_regclass('accountdb.conflict') IS NOT NULL
           AND pg_catalog.has_table_privilege('accountdb.conflict', 'SELECT'),
       pg_catalog.has_function_privilege('pg_catalog.pg_current_logfile()', 'EXECUTE')
           AND pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text)', 'EXECUTE')
           AND pg_catalog.has_function_privilege('pg_catalog.pg_read_binary_file(text, bigint, bigint)', 'EXECUTE');

-- slots --
-- Logical slots of this database. xid and position count as far as the follower has confirmed.
SELECT s.slot_name, s.plugin, s.database, s.active,
       pg_catalog.pg_wal_lsn_diff(n.lsn, s.restart_lsn)::bigint,
       greatest(pg_catalog.pg_wal_lsn_diff(n.lsn, s.confirmed_flush_lsn), 0)::bigint,
       greatest(pg_catalog.age(s.catalog_xmin) - 1, 0),
       s.wal_status, s.safe_wal_size,
       pg_catalog.pg_wal_lsn_diff(s.confirmed_flush_lsn, '0/0')::bigint,
       (j.row ->> 'inactive_since')::timestamptz,
       coalesce(s.wal_status = 'lost' OR j.row ->> 'invalidation_reason' IS NOT NULL, false),
       j.row ->> 'invalidation_reason'
FROM pg_catalog.pg_replication_slots AS s
CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                                ELSE pg_catalog.pg_current_wal_lsn() END) AS n (lsn)
CROSS JOIN LATERAL pg_catalog.to_jsonb(s) AS j (row)
WHERE s.slot_type = 'logical' AND NOT s.temporary AND s.database = pg_catalog.current_database()
ORDER BY s.slot_name;

-- applied --
-- Up to where of its provider's log each subscription has applied, by its slot. For superusers.
SELECT coalesce(s.subslotname, o.external_id), pg_catalog.pg_wal_lsn_diff(o.remote_lsn, '0/0')::bigint
FROM pg_catalog.pg_replication_origin_status AS o
LEFT JOIN pg_catalog.pg_subscription AS s
    ON o.external_id = 'pg_' || s.oid::text
   AND s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database());

-- log_end --
-- How far this server's log has come.
SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::bigint
WHERE NOT pg_catalog.pg_is_in_recovery();

-- sent --
-- How many transactions were decoded for each slot (PostgreSQL 14).
SELECT s.slot_name, s.total_txns FROM pg_catalog.pg_stat_replication_slots AS s;

-- workers --
SELECT pg_catalog.current_setting('max_logical_replication_workers')::int,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_subscription AS s WHERE s.pid IS NOT NULL)::int,
       pg_catalog.current_setting('max_worker_processes')::int,
       EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a WHERE a.backend_type = 'logical replication launcher');

-- wal_rate --
SELECT (w.wal_bytes / nullif(extract(epoch FROM pg_catalog.clock_timestamp() - w.stats_reset), 0))::float8
FROM pg_catalog.pg_stat_wal AS w;

-- beats --
-- The newest beat of every node, and when it came; of this region's own also others, thinned out with their age.
SELECT h.node, h.beat_at, h.arrived_at,
       CASE WHEN h.node = accountdb.node_name() THEN
           (SELECT pg_catalog.array_agg(ARRAY[extract(epoch FROM b.beat_at), b.since]::float8[] ORDER BY b.beat_at)
            FROM (SELECT DISTINCT ON (pg_catalog.floor(20 * pg_catalog.ln(greatest(
                             extract(epoch FROM pg_catalog.clock_timestamp() - o.beat_at), 0.05))))
                         o.beat_at, pg_catalog.age(o.xmin) AS since
                  FROM accountdb.heartbeat AS o WHERE o.node = h.node
                  ORDER BY pg_catalog.floor(20 * pg_catalog.ln(greatest(
                             extract(epoch FROM pg_catalog.clock_timestamp() - o.beat_at), 0.05))), o.beat_at DESC) AS b)
       END
FROM (SELECT DISTINCT ON (h.node) h.node, h.beat_at, h.arrived_at FROM accountdb.heartbeat AS h
      ORDER BY h.node, h.beat_at DESC) AS h;

-- runs --
SELECT r.kind, r.partners, r.ended_at, r.seconds, r.equal, r.written,
       extract(epoch FROM pg_catalog.clock_timestamp() - r.ended_at)::float8
FROM accountdb.last_run AS r ORDER BY r.kind, r.partners;

-- passes --
SELECT w.job, pg_catalog.count(*)::int, pg_catalog.min(w.applied_at), pg_catalog.min(w.taken_at),
       extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(w.applied_at))::float8
FROM accountdb.sync_watermark AS w GROUP BY w.job ORDER BY w.job;

-- backlog --
SELECT (SELECT pg_catalog.count(*) FROM (SELECT FROM accountdb.change_log LIMIT 100001) AS l),
       (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(r.seen_at))::float8
        FROM accountdb.change_reader AS r);

-- conflicts --
SELECT c.open, c.recorded, c.last_minute, c.last_hour, c.newest FROM accountdb.conflict_counts() AS c;

-- conflicts_before --
-- The same in a database without the function.
SELECT (SELECT pg_catalog.count(*) FROM accountdb.conflict AS c
        WHERE c.state = 'open' AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)),
       (SELECT pg_catalog.count(*) FROM accountdb.conflict AS c),
       (SELECT pg_catalog.count(*) FROM accountdb.conflict AS c
        WHERE c.recorded_at > pg_catalog.clock_timestamp() - interval '1 minute'),
       (SELECT pg_catalog.count(*) FROM accountdb.conflict AS c
        WHERE c.recorded_at > pg_catalog.clock_timestamp() - interval '1 hour'),
       (SELECT pg_catalog.max(c.recorded_at) FROM accountdb.conflict AS c);

-- log_tail --
-- Lines of the newest part of the server's log that are errors, or about streams. As bytes: the part may begin within
-- a character. In escapes: the lines of another database may be in another encoding.
SELECT pg_catalog.string_agg(l.line, E'\n' ORDER BY l.position), pg_catalog.current_setting('log_timezone')
FROM pg_catalog.pg_current_logfile() AS f (path)
CROSS JOIN LATERAL pg_catalog.pg_stat_file(f.path) AS s
CROSS JOIN LATERAL pg_catalog.regexp_split_to_table(pg_catalog.encode(pg_catalog.pg_read_binary_file(
    f.path, greatest(s.size - 131072, 0), 131072), 'escape'), E'\n') WITH ORDINALITY AS l (line, position)
WHERE f.path IS NOT NULL
  AND (l.line ~ '(ERROR|FATAL|PANIC|CONTEXT):  |^\tprocessing remote data'
       OR l.line ~ '(LOG|WARNING):  ' AND l.line ~* 'pglogical|logical replication|starting apply|worker|subscription');

-- heartbeat --
SELECT accountdb.beat(pg_catalog.make_interval(secs => %(gap)s));

-- providers --
SELECT s.subscription, s.provider FROM accountdb.subscription_states() AS s;

-- history --
-- When beats of other regions came, in seconds since 1970, and how long each took by the clocks of both: of each of so
-- many stretches of time the slowest, so that no peak is lost.
SELECT b.node, b.beat_at, b.seconds
FROM (SELECT DISTINCT ON (h.node, s.stretch)
             h.node, extract(epoch FROM h.beat_at)::float8 AS beat_at,
             extract(epoch FROM h.arrived_at - h.beat_at)::float8 AS seconds
      FROM accountdb.heartbeat AS h
      CROSS JOIN LATERAL (SELECT pg_catalog.floor(extract(epoch FROM h.beat_at)
                                                  / (extract(epoch FROM %(span)s::interval) / %(points)s))) AS s (stretch)
      WHERE h.arrived_at IS NOT NULL AND h.beat_at > pg_catalog.clock_timestamp() - %(span)s::interval
      ORDER BY h.node, s.stretch, h.arrived_at - h.beat_at DESC) AS b
ORDER BY b.node, b.beat_at;
