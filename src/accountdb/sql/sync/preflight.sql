What pgsync has to know of two databases before it reads or writes a row.

-- identity --
-- The database, whatever it is called now, and the history that it is on: a restore begins a new one. By the log that
-- is being written: a server that was promoted tells its last checkpoint's history for minutes.
SELECT c.system_identifier::text || '/' || d.oid::text,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN greatest(k.timeline_id, r.min_recovery_end_timeline)
            ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::integer END
FROM pg_catalog.pg_control_system() AS c, pg_catalog.pg_control_checkpoint() AS k,
     pg_catalog.pg_control_recovery() AS r, pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database();

-- readable --
-- The columns of a source table that this role may not read.
SELECT a.attname FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY (%(columns)s)
  AND NOT pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')
ORDER BY a.attnum;

-- partitioned --
-- Whether it is, and what it consists of: a partition that is emptied as a whole gets another file.
SELECT c.relkind = 'p', CASE WHEN c.relkind = 'p' THEN (
    SELECT pg_catalog.md5(pg_catalog.string_agg(
        pg_catalog.concat_ws('/', p.relid::pg_catalog.oid, pg_catalog.pg_relation_filenode(p.relid)), ',' ORDER BY p.relid))
    FROM pg_catalog.pg_partition_tree(c.oid) AS p) END
FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass;

-- writable --
-- The rights that this role lacks on a target table, whether it acts for the owner, and rows that row security hides.
SELECT ARRAY(SELECT p.name FROM unnest(%(rights)s::text[]) AS p (name)
             WHERE NOT pg_catalog.has_table_privilege(c.oid, p.name)),
       pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       pg_catalog.row_security_active(c.oid), c.relkind = 'p'
FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass;

-- rewriting --
-- Triggers of a target table that may change what is written. accountdb's own know what is synced.
SELECT t.tgname
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE t.tgrelid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass
  AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype::int & 2 = 2 AND t.tgtype::int & 1 = 1
  AND t.tgname <> ALL (%(own)s::text[])
  AND NOT (p.pronamespace = 'public'::pg_catalog.regnamespace AND p.proname IN ('set_updated_at', 'bump_version')
           AND pg_catalog.to_regnamespace('accountdb') IS NOT NULL)
ORDER BY t.tgname;

-- state_rights --
-- Whether this role can keep its own state and staging tables here.
SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP'),
       CASE WHEN pg_catalog.to_regclass('accountdb.sync_watermark') IS NOT NULL
            THEN pg_catalog.has_schema_privilege('accountdb', 'USAGE')
                 -- A list of rights would ask for any of them.
                 AND (SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege('accountdb.sync_watermark', r.name))
                      FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS r (name))
            WHEN pg_catalog.to_regnamespace('accountdb') IS NOT NULL
            THEN pg_catalog.has_schema_privilege('accountdb', 'CREATE')
            ELSE pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') END;

-- log_rights --
-- Whether this role may read the change log, and say up to where it has done so: which a standby does not let it.
SELECT NOT pg_catalog.current_setting('transaction_read_only')::boolean
   AND pg_catalog.has_schema_privilege('accountdb', 'USAGE')
   AND pg_catalog.has_table_privilege('accountdb.change_log', 'SELECT')
   AND pg_catalog.has_table_privilege('accountdb.change_capture', 'SELECT')
   AND pg_catalog.has_table_privilege('accountdb.change_reader', 'SELECT')
   AND pg_catalog.has_table_privilege('accountdb.change_reader', 'INSERT')
   AND pg_catalog.has_table_privilege('accountdb.change_reader', 'UPDATE');
