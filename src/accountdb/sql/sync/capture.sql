How pgsync learns what changed at a source. Names in braces are filled in by accountdb.sync.capture.

-- log --
-- One row a change: which row of which table, and the transaction (never a subtransaction) that changed it.
-- A reader takes what is visible to its snapshot and was not to its last one, so it is no matter when a
-- transaction commits, or in which order.
CREATE SCHEMA IF NOT EXISTS accountdb;
-- What a table's log still holds: everything from this transaction on, while its triggers are what they were then.
CREATE TABLE IF NOT EXISTS accountdb.change_capture (
    table_schema text NOT NULL,
    table_name text NOT NULL,
    complete_from xid8 NOT NULL,
    triggers text[] NOT NULL,
    PRIMARY KEY (table_schema, table_name)
);
-- A log that was taken away has nothing.
DELETE FROM accountdb.change_capture WHERE pg_catalog.to_regclass('accountdb.change_log') IS NULL;
CREATE TABLE IF NOT EXISTS accountdb.change_log (
    table_schema text NOT NULL,
    table_name text NOT NULL,
    row_key text[],
    operation "char" NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    origin text
);
COMMENT ON TABLE accountdb.change_log IS
    'What pgsync has to look at: row_key is empty for a TRUNCATE; origin is the database that a change was synced from';
CREATE INDEX IF NOT EXISTS change_log_table_xid ON accountdb.change_log (table_schema, table_name, xid);
-- Who reads the log, up to where each has applied it, and up to where it may have: that is told before anything of a
-- pass is applied, so a source that knows nothing of what a reader has applied is one that was put back.
CREATE TABLE IF NOT EXISTS accountdb.change_reader (
    job text NOT NULL,
    destination text NOT NULL,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    passed pg_snapshot NOT NULL,
    offered pg_snapshot NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (job, destination, table_schema, table_name)
);

-- trigger_function --
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog {settings}
AS {tag}
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO accountdb.change_log (table_schema, table_name, operation) VALUES ({schema_name}, {table_name}, 'T');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO accountdb.change_log (table_schema, table_name, row_key, operation)
        VALUES ({schema_name}, {table_name}, ARRAY[{old_key}], pg_catalog.left(TG_OP, 1)::"char");
        -- A changed key is a row that goes and another that comes.
        IF TG_OP = 'DELETE' OR {same_key} THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO accountdb.change_log (table_schema, table_name, row_key, operation)
    VALUES ({schema_name}, {table_name}, ARRAY[{new_key}], 'I');
    RETURN NULL;
END
{tag};

-- triggers --
REVOKE EXECUTE ON FUNCTION {function}() FROM PUBLIC;
CREATE OR REPLACE TRIGGER accountdb_capture AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {function}();
-- Also what a replication worker or a restore writes here has to be seen by the readers.
ALTER TABLE {table} ENABLE ALWAYS TRIGGER accountdb_capture;
COMMENT ON TRIGGER accountdb_capture ON {table} IS {comment};
CREATE OR REPLACE TRIGGER accountdb_capture_truncate AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER accountdb_capture_truncate;
COMMENT ON TRIGGER accountdb_capture_truncate ON {table} IS {comment};

-- complete_from --
-- In the transaction that installs the triggers: from it on the log is complete.
INSERT INTO accountdb.change_capture (table_schema, table_name, complete_from, triggers)
SELECT %(schema)s, %(table)s, pg_catalog.pg_current_xact_id(), pg_catalog.array_agg(t.xmin::text ORDER BY t.tgname)
FROM pg_catalog.pg_trigger AS t
WHERE t.tgrelid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass
  AND t.tgname IN ('accountdb_capture', 'accountdb_capture_truncate')
ON CONFLICT (table_schema, table_name) DO UPDATE
SET complete_from = excluded.complete_from, triggers = excluded.triggers;

-- installed --
-- Not those that were touched since, and be it that they were switched off and on again: nobody knows what was written
-- meanwhile. By the transaction that wrote the catalog's row, which a change of any kind writes anew.
SELECT f.nspname, f.relname, f.tgname, f.tgenabled, f.comment
FROM (SELECT n.nspname, c.relname, t.tgname, t.tgenabled, pg_catalog.obj_description(t.oid, 'pg_trigger') AS comment,
             pg_catalog.array_agg(t.xmin::text) OVER (PARTITION BY c.oid ORDER BY t.tgname
                 ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS triggers
      FROM pg_catalog.pg_trigger AS t
      JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      WHERE t.tgname IN ('accountdb_capture', 'accountdb_capture_truncate')
        AND NOT t.tgisinternal AND t.tgparentid = 0) AS f
JOIN accountdb.change_capture AS k
  ON k.table_schema = f.nspname AND k.table_name = f.relname AND k.triggers = f.triggers;

-- remove --
DROP TRIGGER IF EXISTS accountdb_capture ON {table};
DROP TRIGGER IF EXISTS accountdb_capture_truncate ON {table};
DROP FUNCTION IF EXISTS {function}();

-- there --
-- By the catalog, which tells also a role that may not look into the schema.
SELECT pg_catalog.count(*) = 3
   AND coalesce(pg_catalog.bool_and(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                                    AND pg_catalog.has_table_privilege(c.oid, 'SELECT')), false)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'accountdb' AND c.relname IN ('change_log', 'change_reader', 'change_capture') AND c.relkind = 'r';
