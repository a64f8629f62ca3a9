-- Joins this region to another with pglogical: node, replication set rep_all, subscription.
--
--     psql "$REGION_DB_URL" -v NODE_NAME=node_cn -v NODE_DSN='host=... dbname=account user=...' \
--          -v SUBSCRIPTION_NAME=sub_from_global -v PROVIDER_DSN='host=... dbname=account user=...' \
--          -f schema_pglogical_region.sql
--
-- Needs a superuser, schema.sql and schema_pglogical_init.sql. It copies no rows. Running it again
-- keeps what works: node, set and subscription stay as they are, tables that are new join the set.
-- Where the provider has not joined yet, the subscription waits: run this file again afterwards.

\set ON_ERROR_STOP on
-- psql does not put variables into dollar quotes, so they travel as settings of this session.
\if :{?NODE_NAME}
SELECT pg_catalog.set_config('accountdb.node_name', :'NODE_NAME', false) \g /dev/null
\else
DO $$ BEGIN RAISE EXCEPTION 'NODE_NAME is missing' USING HINT = 'psql -v NODE_NAME=node_cn ...'; END $$;
\endif
\if :{?NODE_DSN}
SELECT pg_catalog.set_config('accountdb.node_dsn', :'NODE_DSN', false) \g /dev/null
\else
DO $$ BEGIN RAISE EXCEPTION 'NODE_DSN is missing' USING HINT = 'psql -v NODE_DSN=''host=... dbname=account'' ..., by which the other region reaches this one'; END $$;
\endif
\if :{?SUBSCRIPTION_NAME}
SELECT pg_catalog.set_config('accountdb.subscription_name', :'SUBSCRIPTION_NAME', false) \g /dev/null
\else
DO $$ BEGIN RAISE EXCEPTION 'SUBSCRIPTION_NAME is missing' USING HINT = 'psql -v SUBSCRIPTION_NAME=sub_from_global ...'; END $$;
\endif
\if :{?PROVIDER_DSN}
SELECT pg_catalog.set_config('accountdb.provider_dsn', :'PROVIDER_DSN', false) \g /dev/null
\else
DO $$ BEGIN RAISE EXCEPTION 'PROVIDER_DSN is missing' USING HINT = 'psql -v PROVIDER_DSN=''host=... dbname=account'' ..., by which this region reaches the other'; END $$;
\endif

-- node --
DO $node$
DECLARE
    wanted text := nullif(current_setting('accountdb.node_name'), '');
    standing text;
BEGIN
    IF wanted IS NULL THEN
        RAISE EXCEPTION 'NODE_NAME is empty';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pglogical') THEN
        RAISE EXCEPTION 'extension pglogical is not installed in database %', current_database()
            USING HINT = 'run schema_pglogical_init.sql as a superuser first';
    END IF;
    SELECT n.node_name INTO standing FROM pglogical.local_node AS l JOIN pglogical.node AS n USING (node_id);
    IF standing IS NULL THEN
        PERFORM pglogical.create_node(node_name := wanted::name, dsn := current_setting('accountdb.node_dsn'));
    ELSIF standing <> wanted THEN
        RAISE EXCEPTION 'this region is node %, it cannot also become %', standing, wanted
            USING HINT = format('use NODE_NAME=%s, or leave first: migratectl region leave', standing);
    END IF;
    EXECUTE format('ALTER DATABASE %I SET pglogical.node_name = %L', current_database(), wanted);
    INSERT INTO accountdb.node AS n (name, mode) VALUES (wanted, 'pglogical')
    ON CONFLICT (singleton) DO UPDATE SET name = excluded.name, mode = excluded.mode
        WHERE (n.name, n.mode) IS DISTINCT FROM (excluded.name, excluded.mode);
END
$node$;

-- replication_set --
-- rep_all holds every table of public that carries the columns of the row contract, and accountdb's
-- tombstones, resolutions and beats; all columns of each, for a set that leaves a generated column out
-- crashes the server. TRUNCATE is not replicated.
DO $replication_set$
DECLARE
    node_id oid := (SELECT l.node_id FROM pglogical.local_node AS l);
    rep_all oid;
    new_table regclass;
BEGIN
    IF NOT EXISTS (SELECT FROM pglogical.replication_set AS r
                   WHERE r.set_nodeid = node_id AND r.set_name = 'rep_all') THEN
        PERFORM pglogical.create_replication_set('rep_all', true, true, true, false);
    END IF;
    SELECT r.set_id INTO rep_all FROM pglogical.replication_set AS r
    WHERE r.set_nodeid = node_id AND r.set_name = 'rep_all';
    FOR new_table IN
        SELECT c.oid FROM pg_catalog.pg_class AS c
        WHERE c.relkind = 'r' AND c.relpersistence = 'p'
          AND NOT EXISTS (SELECT FROM pglogical.replication_set_table AS t
                          WHERE t.set_id = rep_all AND t.set_reloid = c.oid)
          AND (c.oid IN ('accountdb.tombstone'::regclass, 'accountdb.resolution'::regclass, 'accountdb.heartbeat'::regclass)
               OR c.relnamespace = 'public'::regnamespace
              AND c.relname <> ALL (coalesce(nullif(current_setting('accountdb.exclude', true), ''), '{}')::text[])
              AND 5 = (SELECT count(*) FROM pg_catalog.pg_attribute AS a
                       WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attnum > 0 AND a.attname IN
                           ('uuid', 'created_at', 'updated_at', 'version', 'origin_node')))
        ORDER BY c.relname
    LOOP
        PERFORM pglogical.replication_set_add_table('rep_all', new_table, false);
    END LOOP;
END
$replication_set$;

-- subscription --
-- forward_origins '{}': what came from the other region does not go back. No table copy: it fails on
-- the first duplicate key and leaves the subscription beyond repair. Rows are brought by a merge.
DO $subscription$
DECLARE
    wanted text := nullif(current_setting('accountdb.subscription_name'), '');
BEGIN
    IF wanted IS NULL THEN
        RAISE EXCEPTION 'SUBSCRIPTION_NAME is empty';
    END IF;
    IF EXISTS (SELECT FROM pglogical.subscription AS s WHERE s.sub_name = wanted) THEN
        DELETE FROM accountdb.pending_subscription AS p WHERE p.name = wanted;
        RETURN;
    END IF;
    PERFORM pglogical.create_subscription(
        subscription_name := wanted::name, provider_dsn := current_setting('accountdb.provider_dsn'),
        replication_sets := ARRAY['rep_all'], synchronize_structure := false, synchronize_data := false,
        forward_origins := '{}');
    DELETE FROM accountdb.pending_subscription AS p WHERE p.name = wanted;
EXCEPTION WHEN OTHERS THEN
    IF SQLERRM NOT LIKE '%node not found%' AND SQLERRM NOT LIKE '%schema "pglogical" does not exist%' THEN
        RAISE;
    END IF;
    INSERT INTO accountdb.pending_subscription (name, mode) VALUES (wanted, 'pglogical') ON CONFLICT DO NOTHING;
    RAISE WARNING 'subscription % waits: the provider has not joined yet', wanted
        USING HINT = 'run this file on the provider, then run it here again (migratectl region join does both)';
END
$subscription$;
