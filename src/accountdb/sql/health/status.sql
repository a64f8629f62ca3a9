What status reads of a region besides its streams.

-- region --
SELECT pg_catalog.current_setting('server_version'), pg_catalog.pg_is_in_recovery(),
       pg_catalog.to_regclass('accountdb.node') IS NOT NULL;

-- open_conflicts --
-- NULL where this role may not read the table: only its owner may.
SELECT CASE WHEN pg_catalog.has_table_privilege('accountdb.conflict', 'SELECT') THEN
    (SELECT pg_catalog.count(*) FROM accountdb.conflict AS c
     WHERE c.state = 'open' AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)) END,
       CASE WHEN pg_catalog.has_table_privilege('accountdb.conflict', 'SELECT') THEN
    (SELECT pg_catalog.count(*) FROM accountdb.conflict AS c) END;

-- log_tail --
-- The newest part of the server's log, where this role may read it and the server collects it.
SELECT pg_catalog.pg_read_file(f.path, greatest(s.size - 65536, 0), 65536)
FROM pg_catalog.pg_current_logfile() AS f (path), LATERAL pg_catalog.pg_stat_file(f.path) AS s
WHERE f.path IS NOT NULL;
