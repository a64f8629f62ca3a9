-- The row contract: what keeps created_at, updated_at, version and origin_node of every
-- replicated table, and the name of the node that this database is.

CREATE SCHEMA IF NOT EXISTS accountdb;
COMMENT ON SCHEMA accountdb IS 'accountdb: row contract, guards, conflicts. Business tables live in public.';
-- Every writer calls accountdb.node_name() through its triggers. USAGE shows names, never rows.
GRANT USAGE ON SCHEMA accountdb TO PUBLIC;

CREATE TABLE IF NOT EXISTS accountdb.migration (
    version     integer PRIMARY KEY CHECK (version > 0),
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by  text NOT NULL DEFAULT current_user,
    seconds     double precision NOT NULL
);
COMMENT ON TABLE accountdb.migration IS 'Which migration files were applied here: checksum, who, when, how long.';

CREATE TABLE IF NOT EXISTS accountdb.node (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    name        text CHECK (name <> ''),
    mode        text NOT NULL DEFAULT 'pgsync' CHECK (mode IN ('pgsync', 'pglogical', 'native'))
);
COMMENT ON TABLE accountdb.node IS 'The node name of this region, once it has one, and its replication mode: at most one row.';
GRANT SELECT ON accountdb.node TO PUBLIC;

-- Stable within a statement: it is the default of origin_node and is called for each local write.
CREATE OR REPLACE FUNCTION accountdb.node_name() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog
AS $function$
BEGIN
    RETURN coalesce(
        nullif(current_setting('pglogical.node_name', true), ''),
        (SELECT n.name FROM accountdb.node AS n),
        'local'
    );
END
$function$;
COMMENT ON FUNCTION accountdb.node_name() IS
    'The node name: the setting pglogical.node_name, else accountdb.node, else local.';

-- Both triggers are ORIGIN triggers, so what a replication worker applies keeps its values. A
-- synced change, which an ordinary role applies, keeps them by the setting accountdb.apply = on,
-- made with SET LOCAL in the transaction that applies.
CREATE OR REPLACE FUNCTION public.set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $function$
BEGIN
    IF current_setting('accountdb.apply', true) = 'on' THEN
        RETURN NEW;
    END IF;
    NEW.created_at := OLD.created_at;
    -- Never backwards, whatever the clock does: the row order compares it.
    NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION public.set_updated_at() IS
    'Row contract: a local UPDATE moves updated_at forward and keeps created_at.';

CREATE OR REPLACE FUNCTION public.bump_version() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $function$
BEGIN
    IF current_setting('accountdb.apply', true) = 'on' THEN
        RETURN NEW;
    END IF;
    NEW.uuid := OLD.uuid;
    NEW.version := OLD.version + 1;
    NEW.origin_node := accountdb.node_name();
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION public.bump_version() IS
    'Row contract: a local UPDATE raises version by one, names this node, keeps uuid.';
