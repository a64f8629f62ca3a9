Reading the account tables for a snapshot. Names in braces are filled in with psycopg.sql; t is the table.

-- facts --
-- Before 3 migrations there is no node name.
SELECT pg_catalog.to_char(pg_catalog.transaction_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_encoding'),
       pg_catalog.to_regprocedure('accountdb.node_name()') IS NOT NULL;

-- node --
SELECT accountdb.node_name();

-- rows --
-- In the order of the key: the same content gives the same file. In binary, as it has the text as it is.
COPY (SELECT {row} FROM {own} AS t {chosen} ORDER BY t.uuid) TO STDOUT (FORMAT binary);

-- chosen --
JOIN {wanted} AS w ON w.uuid = t.uuid

-- about --
-- By the server's own estimate; -1 where it has none.
SELECT c.reltuples::bigint FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass;

-- make_wanted --
-- Of the session, as a transaction that only reads may write into one but not make one.
CREATE TEMP TABLE {wanted} (uuid uuid PRIMARY KEY, hop integer NOT NULL);

-- want_email --
-- The word as it is: no character in it means anything else.
INSERT INTO {wanted} (uuid, hop)
SELECT t.uuid, 0 FROM {own} AS t
WHERE pg_catalog.strpos(pg_catalog.lower(t.email::text), pg_catalog.lower(%(word)s::text)) > 0;

-- want_users --
INSERT INTO {wanted} (uuid, hop) SELECT t.uuid, 0 FROM {own} AS t WHERE t.uuid = ANY (%(users)s::text[]::uuid[]);

-- want_children --
-- What refers to a row that the hop before has found.
INSERT INTO {wanted} (uuid, hop)
SELECT DISTINCT c.uuid, %(hop)s::int
FROM {child} AS c JOIN {parent} AS p ON {match} JOIN {parent_wanted} AS w ON w.uuid = p.uuid AND w.hop = %(hop)s::int - 1
ON CONFLICT DO NOTHING;

-- analyze_wanted --
ANALYZE {wanted};
