-- The roles of an account database, each with the rights that its program needs and no more.
--
--     psql "$ADMIN_DSN" -v ON_ERROR_STOP=1 [-v MODE=pgsync|pglogical|native] -f roles.sql
--
-- For a superuser, in the account database, in each region. Running it again changes nothing but what is missing. It makes
-- roles without a password, so nobody can log in by one yet: give each its own with \password account_owner, and so on.
-- Run it once more after migratectl init: the rights on accountdb's own tables can only be given when they are there.
--
--     account_owner    owns the database and its tables; runs migratectl
--     account_app      the application: rows of the account tables
--     account_sync     pgsync: reads the source, writes the destination
--     account_monitor  status, metrics: states and numbers, not a row of an account
--
-- Other names: -v OWNER=... -v APP=... -v SYNC=... -v MONITOR=...

\if :{?MODE}
\else
\set MODE pgsync
\endif
\if :{?OWNER}
\else
\set OWNER account_owner
\endif
\if :{?APP}
\else
\set APP account_app
\endif
\if :{?SYNC}
\else
\set SYNC account_sync
\endif
\if :{?MONITOR}
\else
\set MONITOR account_monitor
\endif
SELECT pg_catalog.set_config('accountdb.mode', :'MODE', false), pg_catalog.set_config('accountdb.owner', :'OWNER', false),
       pg_catalog.set_config('accountdb.app', :'APP', false), pg_catalog.set_config('accountdb.sync', :'SYNC', false),
       pg_catalog.set_config('accountdb.monitor', :'MONITOR', false) \g /dev/null

-- roles --
DO $roles$
DECLARE
    owner text := current_setting('accountdb.owner');
    named text;
BEGIN
    IF current_setting('accountdb.mode') NOT IN ('pgsync', 'pglogical', 'native') THEN
        RAISE EXCEPTION 'unknown mode %', current_setting('accountdb.mode') USING HINT = '-v MODE=pgsync, pglogical or native';
    END IF;
    FOREACH named IN ARRAY ARRAY[owner, current_setting('accountdb.app'), current_setting('accountdb.sync'),
                                 current_setting('accountdb.monitor')] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = named) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', named);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), named);
    END LOOP;
    -- Everybody may connect to a new database, and make temporary tables in it.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
                   AND pg_catalog.pg_get_userbyid(d.datdba) = owner) THEN
        EXECUTE format('ALTER DATABASE %I OWNER TO %I', current_database(), owner);
    END IF;
    IF current_setting('accountdb.mode') = 'native' THEN
        -- REPLICATION reads the changes of the whole server: it is the owner's alone.
        EXECUTE format('ALTER ROLE %I REPLICATION', owner);
        IF EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = 'pg_create_subscription'
                   AND NOT pg_catalog.pg_has_role(owner, r.oid, 'MEMBER')) THEN
            EXECUTE format('GRANT pg_create_subscription TO %I', owner);
        END IF;
    END IF;
    -- States of other sessions, slots and settings; no row of any table.
    IF NOT pg_catalog.pg_has_role(current_setting('accountdb.monitor'), 'pg_monitor', 'MEMBER') THEN
        EXECUTE format('GRANT pg_monitor TO %I', current_setting('accountdb.monitor'));
    END IF;
END
$roles$;

-- rights --
-- On what is there: before migratectl init little, after it all.
DO $rights$
DECLARE
    app text := current_setting('accountdb.app');
    sync text := current_setting('accountdb.sync');
    monitor text := current_setting('accountdb.monitor');
    named text;
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), sync);
    FOR named IN
        SELECT c.oid::regclass::text FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
          AND c.relname IN ('users', 'identities', 'sessions', 'admin_settings', 'subscriptions')
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I, %I', named, app, sync);
    END LOOP;
    IF to_regnamespace('accountdb') IS NULL THEN
        RAISE NOTICE 'the tables are not there yet: run migratectl init as %, then this file again', current_setting('accountdb.owner');
        RETURN;
    END IF;
    -- Its watermarks at a destination, which its first pass makes; at a source the log, which holds keys and no content.
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA accountdb TO %I', sync);
    IF to_regclass('accountdb.sync_watermark') IS NOT NULL THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON accountdb.sync_watermark TO %I', sync);
    END IF;
    IF to_regclass('accountdb.change_log') IS NOT NULL THEN
        EXECUTE format('GRANT SELECT, DELETE ON accountdb.change_log TO %I', sync);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON accountdb.change_reader TO %I', sync);
        EXECUTE format('GRANT SELECT ON accountdb.change_capture TO %I', sync);
    END IF;
    -- What pgsync makes there later: its watermarks.
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA accountdb GRANT SELECT ON TABLES TO %I', sync, monitor);
    FOREACH named IN ARRAY ARRAY['sync_watermark', 'heartbeat', 'last_run', 'change_reader'] LOOP
        IF to_regclass('accountdb.' || named) IS NOT NULL THEN
            EXECUTE format('GRANT SELECT ON accountdb.%I TO %I', named, monitor);
        END IF;
    END LOOP;
    FOREACH named IN ARRAY ARRAY['accountdb.beat(interval)', 'accountdb.conflict_counts()', 'accountdb.subscription_states()'] LOOP
        IF to_regprocedure(named) IS NOT NULL THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', named, monitor);
        END IF;
    END LOOP;
    IF to_regnamespace('pglogical') IS NOT NULL THEN
        -- To name the schema, no more: without it every DROP of theirs fails, of a temporary table even.
        EXECUTE format('GRANT USAGE ON SCHEMA pglogical TO %I', sync);
    END IF;
END
$rights$;
