The guard of one table, as templates: names in braces are filled in by accountdb.guards.definition
with psycopg.sql, never by text replacement. A guard fires only while a replication worker applies
(ENABLE REPLICA) and settles conflicts there. It never raises for one.

-- function --
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS $guard$
#variable_conflict use_column
DECLARE
    here jsonb;
    incoming jsonb;
    here_wins boolean;
BEGIN
    -- The ordinary case: the change was made on top of what stands here. It costs one comparison.
    IF NEW.version > OLD.version THEN
        {keep_generated}
        RETURN NEW;
    END IF;

    -- Two regions wrote this row at the same time: the row order decides, the same on both sides.
    here := accountdb.row_content(OLD, {generated});
    incoming := accountdb.row_content(NEW, {generated});
    IF here = incoming THEN
        RETURN NULL;
    END IF;
    here_wins := accountdb.row_wins(
        OLD.version, OLD.updated_at, OLD.origin_node, md5(here::text),
        NEW.version, NEW.updated_at, NEW.origin_node, md5(incoming::text));
    PERFORM accountdb.record_conflict(
        'update_update', TG_TABLE_SCHEMA, TG_TABLE_NAME, {key}, 'row_order',
        CASE WHEN here_wins THEN here ELSE incoming END,
        CASE WHEN here_wins THEN incoming ELSE here END);
    IF here_wins THEN
        RETURN NULL;
    END IF;
    {keep_generated}
    RETURN NEW;
END
$guard$;

-- keep_generated --
-- PL/pgSQL empties generated columns in NEW. The executor fills them again, pglogical does not.
IF {changed} THEN
            NEW.{column} := (SELECT {expression} FROM (SELECT {bases}) AS incoming_row);
        ELSE
            NEW.{column} := OLD.{column};
        END IF;

-- owner --
ALTER FUNCTION {function}() OWNER TO {owner};
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION accountdb.record_conflict(text, text, text, jsonb, text, jsonb, jsonb, text) TO {owner};

-- trigger --
CREATE OR REPLACE TRIGGER {trigger} BEFORE UPDATE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE REPLICA TRIGGER {trigger};
COMMENT ON TRIGGER {trigger} ON {table} IS {comment};

-- installed --
-- The guards that stand here: schema, table, mode (R is right), definition hash of the comment.
SELECT n.nspname, c.relname, t.tgenabled::text,
       pg_catalog.obj_description(t.oid, 'pg_trigger')
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE t.tgname = %(trigger)s AND NOT t.tgisinternal
ORDER BY 1, 2;
