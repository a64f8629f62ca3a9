What a migration of several regions does beside the files.

-- fence --
-- Turns local writes of a table away while its structure is about to change in several regions, so that the
-- streams run dry; what a worker applies passes, for the trigger is in origin mode. The migration holds the
-- lock for as long as it lives: a fence that is left behind means nothing.
CREATE OR REPLACE FUNCTION accountdb.fence() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $function$
BEGIN
    IF pg_try_advisory_lock_shared({key}) THEN
        PERFORM pg_advisory_unlock_shared({key});
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the structure of %.% is being migrated in all regions', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'serialization_failure', HINT = 'try again in a moment';
END
$function$;

-- raise_fence --
CREATE OR REPLACE TRIGGER accountdb_fence BEFORE INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION accountdb.fence();

-- fenced --
SELECT n.nspname, c.relname FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE t.tgname = 'accountdb_fence' AND t.tgfoid = pg_catalog.to_regprocedure('accountdb.fence()') AND t.tgparentid = 0
ORDER BY 1, 2;

-- drop_fence --
DROP TRIGGER IF EXISTS accountdb_fence ON {table};

-- drop_function --
DROP FUNCTION IF EXISTS accountdb.fence();
