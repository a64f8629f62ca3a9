What doctor reads. Every block only reads, but for those of the trial, which is rolled back.

-- session --
SELECT pg_catalog.set_config('statement_timeout', '20s', false), pg_catalog.set_config('lock_timeout', '2s', false);

-- server --
SELECT pg_catalog.current_setting('server_version'), pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('default_transaction_read_only') = 'on',
       pg_catalog.to_regclass('accountdb.node') IS NOT NULL,
       pg_catalog.current_setting('max_slot_wal_keep_size'),
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_slot_wal_keep_size'));

-- sees_all --
-- Whether this role sees the sessions of others.
SELECT r.rolsuper OR pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user;

-- clock --
SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8;

-- extension --
SELECT e.extversion, a.default_version FROM pg_catalog.pg_extension AS e
LEFT JOIN pg_catalog.pg_available_extensions AS a ON a.name = e.extname
WHERE e.extname = 'pglogical';

-- replica_identity --
SELECT n.nspname, c.relname, c.relreplident::text FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname = 'public' AND c.relreplident <> 'd'
ORDER BY c.relname;

-- exclusions --
SELECT c.relname, o.conname FROM pg_catalog.pg_constraint AS o
JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'public'
WHERE o.contype = 'x' ORDER BY 1, 2;

-- short_pglogical --
-- Tables that rep_all offers with columns or rows left out, and the generated columns among those.
SELECT n.nspname, c.relname, t.set_row_filter IS NOT NULL,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped
               AND t.set_att_list IS NOT NULL AND NOT a.attname = ANY (t.set_att_list))
FROM pglogical.replication_set_table AS t
JOIN pglogical.replication_set AS r USING (set_id)
JOIN pg_catalog.pg_class AS c ON c.oid = t.set_reloid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE r.set_name = %(name)s AND (t.set_att_list IS NOT NULL OR t.set_row_filter IS NOT NULL)
ORDER BY 1, 2;

-- short_native --
SELECT n.nspname, c.relname, r.prqual IS NOT NULL, ARRAY[]::text[]
FROM pg_catalog.pg_publication_rel AS r
JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.pubname = %(name)s AND (r.prattrs IS NOT NULL OR r.prqual IS NOT NULL)
ORDER BY 1, 2;

-- slots --
-- Slots of the whole server: the disk that they hold is one.
SELECT s.slot_name, coalesce(s.database, ''), s.database = pg_catalog.current_database(), s.active, s.wal_status,
       pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                                       ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn)::bigint,
       s.safe_wal_size
FROM pg_catalog.pg_replication_slots AS s WHERE NOT s.temporary
ORDER BY s.slot_name;

-- tls --
-- Our own session: encrypted, by what, and whether it comes from this host.
SELECT coalesce(s.ssl, false), coalesce(s.version, ''),
       pg_catalog.inet_client_addr() IS NULL OR pg_catalog.inet_client_addr() = pg_catalog.inet_server_addr()
           OR pg_catalog.host(pg_catalog.inet_client_addr()) IN ('127.0.0.1', '::1')
FROM pg_catalog.pg_stat_activity AS a LEFT JOIN pg_catalog.pg_stat_ssl AS s ON s.pid = a.pid
WHERE a.pid = pg_catalog.pg_backend_pid();

-- tls_followers --
SELECT r.application_name, coalesce(s.ssl, false), coalesce(s.version, ''), coalesce(pg_catalog.host(r.client_addr), ''),
       r.client_addr IS NULL OR pg_catalog.host(r.client_addr) IN ('127.0.0.1', '::1')
FROM pg_catalog.pg_stat_replication AS r LEFT JOIN pg_catalog.pg_stat_ssl AS s ON s.pid = r.pid
ORDER BY 1;

-- table_rights --
-- Who else than the owner may do what with the tables of public.
SELECT c.relname, coalesce(g.rolname, ''), a.grantee = 0, coalesce(g.rolsuper, false),
       pg_catalog.array_agg(DISTINCT a.privilege_type ORDER BY a.privilege_type)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'public'
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
WHERE c.relkind IN ('r', 'p') AND a.grantee <> c.relowner AND c.relname = ANY (%(tables)s::text[])
GROUP BY 1, 2, 3, 4 ORDER BY 2, 1;

-- own_tables_rights --
-- What PUBLIC may do with accountdb's own tables, but for the two that everybody may read.
SELECT c.relname, pg_catalog.array_agg(a.privilege_type::text ORDER BY a.privilege_type)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'accountdb'
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
WHERE a.grantee = 0
  AND NOT (c.relname IN ('node', 'pending_subscription') AND a.privilege_type = 'SELECT')
GROUP BY 1 ORDER BY 1;

-- own_functions_rights --
-- Functions of accountdb that act with their owner's rights and that everybody may call.
SELECT p.oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc AS p
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname = 'accountdb'
WHERE p.prosecdef AND p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype
  AND EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
              WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
ORDER BY 1;

-- conflict_readers --
-- Roles beside the owner that may read whole rows, secrets among them.
SELECT DISTINCT pg_catalog.pg_get_userbyid(a.grantee)
FROM pg_catalog.pg_class AS c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
WHERE c.oid = pg_catalog.to_regclass('accountdb.conflict') AND a.grantee NOT IN (0, c.relowner)
  AND a.privilege_type = 'SELECT'
ORDER BY 1;

-- pglogical_rights --
-- Who may use the schema pglogical: USAGE alone shows nothing; with a table or a function it shows passwords.
SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END, a.privilege_type
FROM pg_catalog.pg_namespace AS n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
WHERE n.nspname = 'pglogical' AND a.grantee <> n.nspowner
ORDER BY 1, 2;

-- pglogical_objects --
-- Roles, not superusers, that may call its functions or read its tables ('' is PUBLIC).
SELECT DISTINCT g.who FROM (
    SELECT a.grantee, CASE a.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END AS who
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'pglogical'
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner
    UNION ALL
    SELECT a.grantee, CASE a.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname = 'pglogical'
    CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
    WHERE a.grantee <> p.proowner) AS g
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = g.grantee
WHERE NOT coalesce(r.rolsuper, false) ORDER BY 1;

-- transactions --
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), a.state,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8
FROM pg_catalog.pg_stat_activity AS a
WHERE a.backend_type = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.xact_start < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %(seconds)s)
ORDER BY a.xact_start;

-- prepared --
SELECT p.gid, p.owner, p.database, extract(epoch FROM pg_catalog.clock_timestamp() - p.prepared)::float8
FROM pg_catalog.pg_prepared_xacts AS p
WHERE p.prepared < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %(seconds)s)
ORDER BY p.prepared;

-- may_count --
SELECT pg_catalog.to_regprocedure('accountdb.conflict_counts()') IS NOT NULL
   AND coalesce(pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('accountdb.conflict_counts()'), 'EXECUTE'), false);

-- conflicts --
SELECT c.open, c.recorded FROM accountdb.conflict_counts() AS c;

-- may_read_runs --
SELECT pg_catalog.to_regclass('accountdb.last_run') IS NOT NULL
   AND coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regclass('accountdb.last_run'), 'SELECT'), false);

-- runs --
SELECT l.kind, l.partners, l.equal, extract(epoch FROM pg_catalog.clock_timestamp() - l.ended_at)::float8
FROM accountdb.last_run AS l ORDER BY l.ended_at DESC;

-- states_function --
SELECT pg_catalog.to_regprocedure('accountdb.subscription_states()') IS NOT NULL;

-- workers --
-- The running apply workers of pglogical by the id of their subscription, and when each began.
SELECT substring(a.application_name FROM ':([0-9]+)$')::bigint, a.backend_start
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datname = pg_catalog.current_database() AND a.application_name ~ '^pglogical apply [0-9]+:[0-9]+$';

-- subscription_ids --
SELECT s.sub_id::bigint, s.sub_name FROM pglogical.subscription AS s WHERE s.sub_enabled ORDER BY s.sub_name;

-- resolver --
-- What a worker that began now would have, and when that was set last. A worker is the first superuser, and
-- what is set for a role or a database comes before the files. A change of such a setting is dated by its transaction.
WITH own AS (
    SELECT c.setting, s.setrole, s.setdatabase, pg_catalog.pg_xact_commit_timestamp(s.xmin) AS since
    FROM pg_catalog.pg_db_role_setting AS s
    CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)
    WHERE s.setrole IN (0, 10)
      AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()))
      AND c.setting LIKE 'pglogical.conflict\_resolution=%%'
    ORDER BY s.setrole = 0 OR s.setdatabase = 0, s.setrole = 0, s.setdatabase = 0 LIMIT 1)
SELECT substring(o.setting FROM '=(.*)$'), o.setrole = 10, o.setdatabase <> 0, o.since,
       g.reset_val, g.source NOT IN ('database', 'user', 'database user', 'client', 'session', 'global'),
       pg_catalog.pg_conf_load_time()
FROM pg_catalog.pg_settings AS g LEFT JOIN own AS o ON true
WHERE g.name = 'pglogical.conflict_resolution';

-- files_changed --
-- When any file of the configuration was written last.
SELECT pg_catalog.max((pg_catalog.pg_stat_file(f.path, true)).modification)
FROM (SELECT DISTINCT s.sourcefile FROM pg_catalog.pg_file_settings AS s
      UNION SELECT pg_catalog.current_setting('config_file')
      UNION SELECT pg_catalog.current_setting('data_directory') || '/postgresql.auto.conf') AS f (path);

-- resolver_log --
-- Where this role may read the log: beginnings of workers and changes of the parameter, oldest first.
SELECT l.line
FROM pg_catalog.pg_current_logfile() AS f (path)
CROSS JOIN LATERAL pg_catalog.pg_stat_file(f.path) AS s
CROSS JOIN LATERAL pg_catalog.regexp_split_to_table(
    pg_catalog.pg_read_file(f.path, greatest(s.size - 4194304, 0), 4194304), E'\n') WITH ORDINALITY AS l (line, position)
WHERE l.line ~ 'LOG:  (starting apply for subscription |parameter "pglogical.conflict_resolution" )'
ORDER BY l.position;

-- trial_tables --
-- What other triggers than accountdb's own fire when a row of a table is written, and whether this role may write it.
SELECT c.relname,
       ARRAY(SELECT t.tgname::text FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
             JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.pronamespace
             WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
               AND pn.nspname <> 'accountdb'
               AND NOT (pn.nspname = 'public' AND p.proname IN ('set_updated_at', 'bump_version'))
             ORDER BY 1),
       pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE'),
       pg_catalog.has_table_privilege(c.oid, 'INSERT'),
       EXISTS (SELECT FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class = c.oid)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'public'
WHERE c.relname = ANY (%(tables)s::text[]) ORDER BY c.relname;

-- trial_row --
-- One row that nobody else holds, by the quickest way to any.
SELECT t.uuid FROM {table} AS t LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;

-- trial_empty --
SELECT NOT EXISTS (SELECT FROM {table});

-- trial_stamp --
SELECT t.version, t.updated_at, t.origin_node FROM {table} AS t WHERE t.uuid = {uuid};

-- trial_update --
UPDATE {table} AS t SET updated_at = t.updated_at WHERE t.uuid = {uuid}
RETURNING t.version, t.updated_at, t.origin_node, accountdb.node_name();
