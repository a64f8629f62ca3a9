-- Prepares a database for replication with pglogical: the extension, and who may touch it.
--
--     psql "$DB_URL" -v ON_ERROR_STOP=1 [-v GRANT_TO=business_role] -f schema_pglogical_init.sql
--
-- It wants a superuser. Run by an ordinary role it says what is missing, does nothing else and
-- ends well, so that an administrator can simply run it again later. Running it twice changes
-- nothing. Needs schema.sql.

\if :{?GRANT_TO}
\else
\set GRANT_TO ''
\endif
SELECT pg_catalog.set_config('accountdb.grant_to', :'GRANT_TO', false) \g /dev/null

-- extension --
DO $init$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pglogical') THEN
        RETURN;
    END IF;
    CREATE EXTENSION pglogical;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'extension pglogical not created: role % is no superuser', current_user
            USING HINT = 'an administrator runs, in this database: CREATE EXTENSION pglogical; and then the same once more';
    WHEN OTHERS THEN
        RAISE WARNING 'extension pglogical not created: %', SQLERRM
            USING HINT = 'install postgresql-NN-pglogical, set shared_preload_libraries = ''pglogical'', restart, run this again';
END
$init$;

-- rights --
-- As the extension ships, a role that may use the schema pglogical can read the provider's password
-- through pglogical.show_subscription_status() and disable subscriptions. So PUBLIC gets nothing. Two roles may name the
-- schema and no more: the owner of the account tables and the business role, for without it every
-- DROP of theirs, of a temporary table even, fails: pglogical looks itself up when anything is
-- dropped. They see the state through accountdb.subscription_states() alone.
DO $rights$
DECLARE
    business_role text := nullif(current_setting('accountdb.grant_to', true), '');
    table_owner text := (SELECT pg_get_userbyid(n.nspowner) FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'accountdb');
    named text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pglogical') THEN
        RETURN;
    END IF;
    IF NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) THEN
        IF business_role IS NULL AND to_regprocedure('accountdb.subscription_states()') IS NOT NULL THEN
            RETURN; -- a superuser has been here
        END IF;
        RAISE WARNING 'rights on schema pglogical not set: role % is no superuser', current_user
            USING HINT = 'an administrator runs the same once more (migratectl init, or this file)';
        RETURN;
    END IF;
    REVOKE ALL ON SCHEMA pglogical FROM PUBLIC;
    REVOKE ALL ON ALL TABLES IN SCHEMA pglogical FROM PUBLIC;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pglogical FROM PUBLIC;

    CREATE OR REPLACE FUNCTION accountdb.subscription_states()
        RETURNS TABLE (subscription text, state text, provider text, slot text)
        LANGUAGE plpgsql STABLE SECURITY DEFINER
        SET search_path = pg_catalog
    AS $function$
    BEGIN
        -- Without a local node show_subscription_status() raises an error.
        IF EXISTS (SELECT FROM pglogical.local_node) THEN
            RETURN QUERY SELECT s.subscription_name, s.status, s.provider_node, s.slot_name
            FROM pglogical.show_subscription_status() AS s;
        END IF;
    END
    $function$;
    COMMENT ON FUNCTION accountdb.subscription_states() IS
        'accountdb: the subscriptions of this region and their state, without connection strings.';
    REVOKE ALL ON FUNCTION accountdb.subscription_states() FROM PUBLIC;

    FOR named IN
        SELECT r.rolname FROM pg_catalog.pg_roles AS r WHERE r.rolname IN (business_role, table_owner) AND NOT r.rolsuper
    LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA pglogical FROM %I', named);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pglogical FROM %I', named);
        EXECUTE format('GRANT USAGE ON SCHEMA pglogical TO %I', named);
        EXECUTE format('GRANT EXECUTE ON FUNCTION accountdb.subscription_states() TO %I', named);
    END LOOP;
END
$rights$;
