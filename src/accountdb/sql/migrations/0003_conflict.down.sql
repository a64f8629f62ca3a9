-- Guards are made by init, table by table, and lean on what goes here.
DO $guards$
DECLARE
    made record;
BEGIN
    FOR made IN
        SELECT t.tgname, t.tgrelid::regclass AS on_table FROM pg_catalog.pg_trigger AS t
        WHERE NOT t.tgisinternal AND t.tgname IN ('accountdb_guard', 'accountdb_apply', 'accountdb_bury', 'accountdb_revive', 'accountdb_truncate')
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', made.tgname, made.on_table);
    END LOOP;
    FOR made IN
        SELECT p.oid::regprocedure AS signature FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'accountdb'::regnamespace AND p.prorettype = 'trigger'::regtype
          AND p.proname ~ '^(guard|bury)_'
    LOOP
        EXECUTE format('DROP FUNCTION %s', made.signature);
    END LOOP;
END
$guards$;
DROP TABLE IF EXISTS accountdb.pending_subscription;
DROP FUNCTION IF EXISTS accountdb.record_conflict(text, text, text, uuid, text, jsonb, jsonb, text, text, jsonb);
DROP TABLE IF EXISTS accountdb.resolution;
DROP TABLE IF EXISTS accountdb.conflict;
DROP FUNCTION IF EXISTS accountdb.refuse_truncate();
DROP FUNCTION IF EXISTS accountdb.revive();
DROP FUNCTION IF EXISTS accountdb.bury(text, text, uuid, timestamptz, bigint, timestamptz, text);
DROP TABLE IF EXISTS accountdb.tombstone;
DROP FUNCTION IF EXISTS accountdb.released_value(text, uuid, integer, boolean);
DROP FUNCTION IF EXISTS accountdb.claim_wins(timestamptz, uuid, timestamptz, uuid);
DROP FUNCTION IF EXISTS accountdb.row_wins(bigint, timestamptz, text, text, bigint, timestamptz, text, text);
DROP FUNCTION IF EXISTS accountdb.row_content(anyelement, text[]);
