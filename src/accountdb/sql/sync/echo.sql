Entries of the change log that this transaction has made, and whose rows the source of the pass holds alike.

-- logged --
-- Whether there is a log that this role may mark. Where it may not, what was synced is looked at once more, and found equal.
SELECT CASE WHEN pg_catalog.to_regclass('accountdb.change_log') IS NULL THEN false
            ELSE pg_catalog.has_table_privilege('accountdb.change_log', 'SELECT')
             AND pg_catalog.has_table_privilege('accountdb.change_log', 'UPDATE') END;

-- equal --
CREATE TEMP TABLE accountdb_equal (row_key text NOT NULL) ON COMMIT DROP;

-- receive --
COPY pg_temp.accountdb_equal (row_key) FROM STDIN;

-- mark_equal --
UPDATE accountdb.change_log AS l SET origin = %(source)s
FROM pg_temp.accountdb_equal AS e
WHERE l.xid = pg_catalog.pg_current_xact_id() AND l.table_schema = %(schema)s AND l.table_name = %(table)s
  AND l.row_key = ARRAY[e.row_key] AND l.origin IS NULL;

-- forget --
DROP TABLE pg_temp.accountdb_equal;

-- mark_all --
UPDATE accountdb.change_log AS l SET origin = %(source)s
WHERE l.xid = pg_catalog.pg_current_xact_id() AND l.table_schema = %(schema)s AND l.table_name = %(table)s
  AND l.origin IS NULL;

-- mark_deaths --
-- Every region that knows of a death writes its own tombstone: one of the same life says that the source knows.
UPDATE accountdb.change_log AS l SET origin = %(source)s
WHERE l.xid = pg_catalog.pg_current_xact_id() AND l.table_schema = 'accountdb' AND l.table_name = 'tombstone'
  AND l.origin IS NULL
  AND EXISTS (SELECT FROM accountdb.tombstone AS o
              WHERE o.row_key = l.row_key[1]::uuid AND o.table_schema = l.row_key[2] AND o.table_name = l.row_key[3]
                AND o.created_at = l.row_key[4]::timestamptz AND o.node <> l.row_key[5]);

-- unread --
-- What a reader has passed it has applied, but for one that is in its first pass, or in one that compares everything:
-- it has been offered what it says that it has passed.
AND (NOT EXISTS (SELECT FROM accountdb.change_reader AS r
                 WHERE r.destination = {source} AND r.table_schema = {schema} AND r.table_name = {table}
                   AND r.passed::text <> r.offered::text)
     OR EXISTS (SELECT FROM accountdb.change_log AS l
                WHERE l.table_schema = {schema} AND l.table_name = {table} AND l.row_key = ARRAY[t.uuid::text]
                  AND l.origin IS DISTINCT FROM {source}
                  AND NOT EXISTS (SELECT FROM accountdb.change_reader AS r
                                  WHERE r.destination = {source} AND r.table_schema = {schema} AND r.table_name = {table}
                                    AND r.passed::text <> r.offered::text
                                    AND pg_catalog.pg_visible_in_snapshot(l.xid, r.passed))))
