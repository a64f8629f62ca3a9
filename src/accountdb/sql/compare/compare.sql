Comparing the rows of one table in two regions. Names and expressions in braces are filled in with
psycopg.sql; t is the table, {key} what orders its rows, {hash} a row's 64 bits.

-- session --
-- Values become the same text on every server, and hidden rows are an error instead of a difference.
SELECT pg_catalog.set_config(s.name, s.value, %(local)s)
FROM (VALUES ('TimeZone', 'UTC'), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'iso_8601'),
             ('extra_float_digits', '1'), ('bytea_output', 'hex'), ('lc_monetary', 'C'),
             ('quote_all_identifiers', 'off'), ('standard_conforming_strings', 'on'),
             ('search_path', 'pg_catalog'), ('row_security', 'off'), ('client_encoding', 'UTF8'),
             ('statement_timeout', '0'), ('transaction_timeout', '0'), ('idle_session_timeout', '0'),
             ('idle_in_transaction_session_timeout', '0'), ('jit', 'off'), ('work_mem', '32MB')) AS s (name, value)
-- A setting that only newer servers know.
WHERE pg_catalog.current_setting(s.name, true) IS NOT NULL;

-- facts --
SELECT pg_catalog.current_setting('server_version_num')::int, pg_catalog.current_setting('server_encoding');

-- probe --
-- Whether two servers hash alike: every type that is hashed as it is or by its bytes, and the start from a key.
SELECT pg_catalog.hash_record_extended(ROW(
    true, 1::smallint, -2, 4::oid, 'x'::"char", 'name'::name COLLATE "C", 'text é中'::text COLLATE "C",
    pg_catalog.repeat('long ', 50) COLLATE "C", '\x00ff'::bytea, '00000000-0000-4000-8000-00000000abcd'::uuid,
    '2026-01-02'::date, pg_catalog.int8send(3), pg_catalog.time_send('01:02:03.000004'),
    pg_catalog.timestamp_send('2026-01-02 03:04:05.000006'), pg_catalog.timestamptz_send('infinity'),
    pg_catalog.bpcharsend('a '), pg_catalog.cash_send('1'), NULL::int),
    pg_catalog.uuid_hash_extended('00000000-0000-4000-8000-00000000abcd', 0));

-- readable --
-- The columns that this role may not read.
SELECT a.attname FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY (%(columns)s)
  AND NOT pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')
ORDER BY a.attnum;

-- partitioned --
SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'p';

-- nothing --
-- Only whether the condition can be read. The parameter makes the server refuse a second statement, and
-- a condition with parameters of its own.
SELECT FROM {table} AS t WHERE ({where}) AND %(none)s::pg_catalog.tid IS NOT NULL LIMIT 0;

-- size --
-- Blocks, rows by the server's own estimate (-1: never counted), and whether it is one heap.
SELECT (SELECT coalesce(sum(pg_catalog.pg_relation_size(p.relid)), 0)
        FROM pg_catalog.pg_partition_tree(c.oid) AS p WHERE p.isleaf)::bigint
           / pg_catalog.current_setting('block_size')::bigint + CASE WHEN c.relkind = 'r' THEN
           pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint ELSE 0 END,
       c.reltuples::bigint, c.relkind = 'r' AND NOT c.relhassubclass AND m.amname = 'heap'
FROM pg_catalog.pg_class AS c LEFT JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
WHERE c.oid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass;

-- lock --
-- Held to the end: nobody rewrites the table between two looks at one snapshot.
LOCK TABLE {table} IN ACCESS SHARE MODE;

-- sample --
-- Keys that cut the table into about as many parts of one size.
SELECT {texts}
FROM (SELECT t.*, pg_catalog.row_number() OVER (ORDER BY {key}) AS accountdb_n, pg_catalog.count(*) OVER () AS accountdb_c
      FROM {table} AS t TABLESAMPLE SYSTEM (%(percent)s)) AS t
WHERE t.accountdb_n %% greatest(t.accountdb_c / %(parts)s::bigint, 1) = 0;

-- order --
-- Keys of both regions in one order, each once.
SELECT {texts} FROM (SELECT DISTINCT {values} FROM unnest({arrays}) AS w ({names})) AS t ({names}) ORDER BY {key};

-- scan --
-- One stretch of the table: rows and hash of each part of the key's range.
SELECT pg_catalog.width_bucket({key}, {bounds}), pg_catalog.count(*), pg_catalog.bit_xor({hash})
FROM {table} AS t
WHERE {stretch} AND ({where})
GROUP BY 1;

-- stretch --
t.ctid >= %(first)s::tid AND t.ctid < %(end)s::tid

-- rows_by_scan --
-- The keys and hashes of some parts, in the order of the parts.
SELECT t.accountdb_part, {aliases}, t.accountdb_hash
FROM (SELECT pg_catalog.width_bucket({key}, {bounds}) AS accountdb_part, {texts}, {hash} AS accountdb_hash
      FROM {table} AS t WHERE {where}) AS t
WHERE t.accountdb_part = ANY (%(parts)s)
ORDER BY 1;

-- rows_by_index --
-- The same through the index on the key, part by part.
SELECT w.part, t.*
FROM unnest(%(parts)s::int[], {arrays}) AS w (part, {names})
CROSS JOIN LATERAL (SELECT {texts}, {hash} FROM {table} AS t WHERE {range} AND ({where})) AS t

-- rows_at_edge --
-- The first part has no lower bound, the last no upper one.
SELECT {part}, t.* FROM (SELECT {texts}, {hash} FROM {table} AS t WHERE {range} AND ({where})) AS t

-- look --
-- Some rows by their keys: number, hash, and what else is asked for.
SELECT w.n, {hash} {more}
FROM unnest({arrays}) WITH ORDINALITY AS w ({names}, n)
JOIN {table} AS t ON {match};

-- dead --
SELECT t.row_key, t.created_at, t.winner FROM accountdb.tombstone AS t
WHERE t.table_schema = %(schema)s AND t.table_name = %(table)s AND t.row_key = ANY (%(keys)s);

-- policy --
-- Whether this role can be told by accountdb's own objects which copy of a row stands.
SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c
               WHERE c.relnamespace = n.oid AND c.relname = 'tombstone'
                 AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
   AND EXISTS (SELECT FROM pg_catalog.pg_proc AS p
               WHERE p.pronamespace = n.oid AND p.proname = 'row_content'
                 AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))
FROM pg_catalog.pg_namespace AS n
WHERE n.nspname = 'accountdb' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE');

-- count --
SELECT pg_catalog.count(*), coalesce(pg_catalog.bit_xor({hash}), 0) FROM {table} AS t;
