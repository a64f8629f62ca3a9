One row or a few of any table under the row contract (r.* is the row, also where a column is called r). Names in braces are filled in with psycopg.sql.

-- copies --
SELECT r.uuid, r.version, r.created_at, r.updated_at, r.origin_node, accountdb.row_content(r.*, {generated})::text
FROM {table} AS r WHERE r.uuid = ANY (%(keys)s::uuid[])
ORDER BY r.uuid;

-- children --
SELECT r.uuid, r.version, r.created_at, r.updated_at, r.origin_node, accountdb.row_content(r.*, {generated})::text
FROM {table} AS r JOIN {parent} AS p ON {match}
WHERE p.uuid = %(key)s::uuid
ORDER BY r.created_at, r.uuid;

-- some_children --
-- Of any table, under the row contract or not: the oldest first where it says when.
SELECT accountdb.row_content(r.*, {generated})::text, pg_catalog.count(*) OVER ()
FROM {table} AS r JOIN {parent} AS p ON {match}
WHERE p.uuid = %(key)s::uuid
ORDER BY pg_catalog.to_jsonb(r.*) ->> 'created_at'
LIMIT %(most)s;

-- tombstones --
SELECT t.created_at, t.node, t.winner, t.deleted_at
FROM accountdb.tombstone AS t
WHERE t.row_key = %(key)s AND t.table_schema = %(schema)s AND t.table_name = %(table)s
ORDER BY t.deleted_at DESC, t.node;

-- heir --
-- The row itself where it stands, else the one that it was merged into, however often.
WITH RECURSIVE line (heir, step) AS (
    SELECT %(key)s::uuid, 0
    UNION ALL
    SELECT w.winner, l.step + 1
    FROM line AS l CROSS JOIN LATERAL (
        SELECT t.winner FROM accountdb.tombstone AS t
        WHERE t.row_key = l.heir AND t.table_schema = %(schema)s AND t.table_name = %(table)s AND t.winner IS NOT NULL
        ORDER BY t.deleted_at DESC LIMIT 1) AS w
    WHERE l.step < 10
)
SELECT l.heir FROM line AS l JOIN {table} AS r ON r.uuid = l.heir ORDER BY l.step LIMIT 1;

-- taken --
-- Another row that holds, by one unique index, what this row would hold.
WITH wanted AS (
    SELECT {wanted} FROM pg_catalog.jsonb_populate_record(NULL::{table}, %(row)s::jsonb || %(values)s::jsonb) AS n
)
SELECT r.uuid FROM {table} AS r WHERE r.uuid <> %(key)s::uuid AND {match} LIMIT 1;

-- parent --
-- Whether the row that a foreign key names is here; true where the key is empty.
SELECT ({empty}) OR EXISTS (SELECT FROM {parent} AS p WHERE {match})
FROM pg_catalog.jsonb_populate_record(NULL::{table}, %(row)s::jsonb || %(values)s::jsonb) AS n;

-- readable --
-- Whether the values fit the columns' types: raises an error where they do not.
SELECT pg_catalog.count(*) FROM pg_catalog.jsonb_populate_record(NULL::{table}, %(values)s::jsonb) AS n;

-- lock --
-- FOR UPDATE also keeps new children from coming in.
SELECT FROM {table} AS r WHERE r.uuid = ANY (%(keys)s::uuid[]) ORDER BY r.uuid FOR UPDATE;

-- update --
UPDATE {table} AS r SET ({columns}) = (
    SELECT {values} FROM pg_catalog.jsonb_populate_record(NULL::{table}, %(values)s::jsonb) AS n
) WHERE r.uuid = %(key)s AND r.version = %(version)s;

-- insert --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {values} FROM pg_catalog.jsonb_populate_record(NULL::{table}, %(row)s::jsonb || %(values)s::jsonb) AS n;

-- delete --
DELETE FROM {table} AS r WHERE r.uuid = %(key)s AND r.version = %(version)s;
