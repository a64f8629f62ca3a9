What slots of followers keep, and how much room is left.

-- slots --
-- Logical slots of this database by which a region follows: the log that each keeps, since when nobody reads (PostgreSQL 17).
SELECT s.slot_name, s.active_pid, coalesce(s.wal_status = 'lost', false),
       coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn), 0)::bigint,
       s.restart_lsn::text, s.confirmed_flush_lsn::text,
       extract(epoch FROM pg_catalog.clock_timestamp()
               - (pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_type = 'logical' AND NOT s.temporary AND s.database = pg_catalog.current_database()
  AND s.plugin IN ('pgoutput', 'pglogical_output')
  AND NOT coalesce((pg_catalog.to_jsonb(s) ->> 'synced')::boolean, false)
ORDER BY s.slot_name;

-- segment --
SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'));

-- room --
CREATE TEMP TABLE IF NOT EXISTS accountdb_room (line text) ON COMMIT DROP;

-- room_asked --
-- The server's own df, in its data directory: it is the server's disk that counts, wherever it is.
COPY pg_temp.accountdb_room FROM PROGRAM 'LC_ALL=C df -Pk pg_wal/';

-- room_told --
SELECT r.line FROM pg_temp.accountdb_room AS r;
