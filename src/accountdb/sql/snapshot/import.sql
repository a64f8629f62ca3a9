Bringing a snapshot into the account tables, in one transaction. Rows come into a staging table, s; what becomes of each
stands in a table of verdicts, v; t is the table itself, {own} its own rows without those of tables that inherit from it.
Names in braces are filled in with psycopg.sql.

-- settings --
-- Rows keep the stamps that they carry; and nobody else judges what this transaction has judged.
SELECT pg_catalog.set_config('accountdb.apply', 'on', true), pg_catalog.set_config('accountdb.judged', 'on', true),
       pg_catalog.set_config('lock_timeout', %(lock)s, true);

-- policy --
-- Whether the row order is here; whether tombstones are, and may be read; this node.
SELECT pg_catalog.to_regprocedure('accountdb.row_wins(bigint, timestamptz, text, text, bigint, timestamptz, text, text)') IS NOT NULL
   AND pg_catalog.to_regprocedure('accountdb.row_content(anyelement, text[])') IS NOT NULL
   AND pg_catalog.to_regprocedure('accountdb.node_name()') IS NOT NULL,
       pg_catalog.to_regclass('accountdb.tombstone') IS NOT NULL,
       coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regclass('accountdb.tombstone'), 'SELECT'), false);

-- stage --
CREATE TEMP TABLE {new} ON COMMIT DROP AS SELECT {columns} FROM {table} AS t WITH NO DATA;

-- receive --
COPY {stage} ({columns}) FROM STDIN;

-- key --
ALTER TABLE {stage} ADD PRIMARY KEY (uuid);

-- analyze --
ANALYZE {stage};

-- discard --
-- Rows that were not asked for.
DELETE FROM {stage} AS s WHERE NOT EXISTS (SELECT FROM {wanted} AS w WHERE w.uuid = s.uuid);

-- absent --
-- Users that were asked for and that the snapshot has not.
SELECT w.uuid::text FROM unnest(%(users)s::text[]::uuid[]) AS w (uuid)
WHERE NOT EXISTS (SELECT FROM {stage} AS s WHERE s.uuid = w.uuid) ORDER BY 1;

-- lock --
-- Readers go on. Writers, a replication worker among them, wait until the end.
LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;

-- graves --
-- Which of the staged lives ended here.
LEFT JOIN (SELECT DISTINCT d.row_key, d.created_at FROM accountdb.tombstone AS d
           WHERE d.table_schema = {schema_name} AND d.table_name = {table_name}) AS g
    ON g.row_key = s.uuid AND g.created_at = s.created_at

-- no_graves --
CROSS JOIN (SELECT NULL::uuid AS row_key) AS g

-- judge --
-- The verdict on each staged row. "dead": the life that it is a copy of ended here. "bump": what is written has to be a
-- version of its own, as it takes the place of a newer one, which another region would let stand.
CREATE TEMP TABLE {new} ON COMMIT DROP AS
SELECT s.uuid, g.row_key IS NOT NULL AS dead, c.verdict = 'update' AND NOT c.wins AS bump, c.verdict, NULL::text AS why,
       NULL::text AS way
FROM {stage} AS s
LEFT JOIN {own} AS t ON t.uuid = s.uuid
{graves}
CROSS JOIN LATERAL (
    SELECT CASE WHEN t.uuid IS NULL THEN CASE WHEN g.row_key IS NULL OR {revives} THEN 'insert' ELSE 'deleted' END
                -- By the bytes: equality of a type may be coarser than what it holds.
                WHEN ROW ({staged_alive})::record OPERATOR (pg_catalog.*=) ROW ({standing})::record THEN 'unchanged'
                ELSE 'differs' END AS first
    OFFSET 0
) AS f
CROSS JOIN LATERAL (SELECT f.first = 'differs' AND g.row_key IS NULL AND {wins} AS wins OFFSET 0) AS o
CROSS JOIN LATERAL (
    SELECT o.wins, CASE WHEN f.first = 'differs' THEN {decided} ELSE f.first END AS verdict
) AS c;

-- wins --
-- The row order. The content decides only between copies that are equal in everything else.
accountdb.row_wins(s.version, s.updated_at, s.origin_node, CASE WHEN x.tie THEN pg_catalog.md5(accountdb.row_content(
        pg_catalog.jsonb_populate_record(NULL::{table}, pg_catalog.to_jsonb(s.*)), {generated})::text) ELSE '' END,
    t.version, t.updated_at, t.origin_node, CASE WHEN x.tie THEN pg_catalog.md5(accountdb.row_content(t.*, {generated})::text)
        ELSE '' END)

-- decided_append --
'kept'

-- decided_timestamp --
CASE WHEN o.wins THEN 'update' ELSE 'kept' END

-- decided_replace --
-- What differs in its stamp alone is not written anew: run again, nothing moves.
CASE WHEN NOT o.wins AND ROW ({staged_content})::record OPERATOR (pg_catalog.*=) ROW ({standing_content})::record
     THEN 'unchanged' ELSE 'update' END

-- decided_none --
'other'

-- verdict_key --
ALTER TABLE {verdicts} ADD PRIMARY KEY (uuid);

-- analyze_verdicts --
ANALYZE {verdicts};

-- standing --
SELECT pg_catalog.count(*) FROM {own} AS t;

-- verdicts --
SELECT v.verdict, pg_catalog.count(*) FROM {verdicts} AS v GROUP BY v.verdict;

-- revived --
SELECT pg_catalog.count(*) FROM {verdicts} AS v WHERE v.verdict = 'insert' AND v.dead;

-- orphans --
-- Rows to be written that refer to what neither stands nor comes.
UPDATE {verdicts} AS v SET verdict = 'orphan', why = %(constraint)s
FROM {stage} AS s
WHERE v.uuid = s.uuid AND v.verdict IN ('insert', 'update') AND NOT ({empty})
  AND NOT EXISTS (SELECT FROM {parent} AS p WHERE {match}) {coming};

-- coming --
AND NOT EXISTS (SELECT FROM {parent_stage} AS p JOIN {parent_verdicts} AS o ON o.uuid = p.uuid
                WHERE o.verdict IN ('insert', 'update') AND {match})

-- update --
UPDATE {own} AS t SET ({columns}) = ROW ({values})
FROM {stage} AS s JOIN {verdicts} AS v ON v.uuid = s.uuid
WHERE t.uuid = s.uuid AND v.verdict = 'update';

-- insert --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {values} FROM {stage} AS s JOIN {verdicts} AS v ON v.uuid = s.uuid
WHERE v.verdict = 'insert'
ORDER BY s.uuid;

-- insert_all --
-- In the order of the file, which is that of the key.
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {stage} AS s;

-- others --
-- Whether there is any row that does not simply come in.
SELECT EXISTS (SELECT FROM {verdicts} AS v WHERE v.verdict <> 'insert' OR v.dead);

-- fillable --
-- Whether a table is empty, one heap, and this role's, with nothing that waits for the end of the transaction.
SELECT c.relkind = 'r' AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
                   WHERE t.tgrelid = c.oid AND t.tgdeferrable AND t.tgenabled <> 'D' AND t.tgtype::int & 4 = 4)
   AND NOT EXISTS (SELECT FROM {table})
FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(name)s::text)::pg_catalog.regclass;

-- lock_empty --
-- Nobody waits for it, and it waits for nobody: without it the indexes stay where they are.
LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE NOWAIT;

-- analyze_table --
ANALYZE {table};

-- refused --
-- Rows that were to come in and did not.
UPDATE {verdicts} AS v SET verdict = 'trigger'
WHERE v.verdict = 'insert' AND NOT EXISTS (SELECT FROM {own} AS t WHERE t.uuid = v.uuid);

-- twice --
-- Staged rows that claim what another staged row claims. First comes one that stands here, then the first registration.
UPDATE {verdicts} AS v SET verdict = 'claimed', why = %(index)s, way = d.first::text
FROM (SELECT s.uuid, pg_catalog.row_number() OVER same AS place, pg_catalog.first_value(s.uuid) OVER same AS first
      FROM (SELECT s.*, o.verdict = 'insert' AS accountdb_new FROM {bringing} AS s JOIN {verdicts} AS o ON o.uuid = s.uuid
            WHERE o.verdict IN ('insert', 'update')) AS s
      WHERE {claiming}
      WINDOW same AS (PARTITION BY {keys} ORDER BY s.accountdb_new, s.created_at, s.uuid)) AS d
WHERE v.uuid = d.uuid AND d.place > 1;

-- make_rivals --
CREATE TEMP TABLE IF NOT EXISTS accountdb_rival (claimant uuid, holder uuid, index_name text) ON COMMIT DROP;

-- clear_rivals --
TRUNCATE pg_temp.accountdb_rival;

-- find_rivals --
-- Who holds a value that a staged row brings.
INSERT INTO pg_temp.accountdb_rival (claimant, holder, index_name)
SELECT s.uuid, r.uuid, %(index)s
FROM {bringing} AS s JOIN {verdicts} AS v ON v.uuid = s.uuid
CROSS JOIN LATERAL (SELECT t.uuid FROM {own} AS t WHERE {claim} LIMIT 1) AS r
WHERE v.verdict IN ('insert', 'update') AND r.uuid <> s.uuid;

-- rivalled --
SELECT EXISTS (SELECT FROM pg_temp.accountdb_rival AS r WHERE r.index_name = %(index)s);

-- claimed --
-- What stands and does not change, or cannot change places, keeps its value.
UPDATE {verdicts} AS v SET verdict = 'claimed', why = r.index_name, way = r.holder::text
FROM pg_temp.accountdb_rival AS r
WHERE v.uuid = r.claimant AND v.verdict IN ('insert', 'update')
  AND (r.index_name = ANY (%(fixed)s::text[])
       OR NOT EXISTS (SELECT FROM {verdicts} AS o WHERE o.uuid = r.holder AND o.verdict = 'update'));

-- vacate --
-- A version of its own for what is let go, and another one for what comes: other regions see both.
UPDATE {own} AS t SET {changes}, version = t.version + 1, origin_node = accountdb.node_name(),
    updated_at = greatest(pg_catalog.clock_timestamp(), t.updated_at + interval '1 microsecond')
FROM {verdicts} AS v
WHERE v.uuid = t.uuid AND v.verdict = 'update'
  AND EXISTS (SELECT FROM pg_temp.accountdb_rival AS r JOIN {verdicts} AS o ON o.uuid = r.claimant
              WHERE r.holder = t.uuid AND r.index_name = %(index)s AND o.verdict IN ('insert', 'update'));

-- vacated --
UPDATE {verdicts} AS v SET bump = true
WHERE v.verdict = 'update' AND EXISTS (SELECT FROM pg_temp.accountdb_rival AS r WHERE r.holder = v.uuid);

-- left_out --
SELECT v.verdict, coalesce(v.why, ''), pg_catalog.count(*),
       (pg_catalog.array_agg(v.uuid::text ORDER BY v.uuid))[1:%(most)s::int],
       (pg_catalog.array_agg(v.way ORDER BY v.uuid))[1:%(most)s::int]
FROM {verdicts} AS v
WHERE v.verdict IN ('deleted', 'claimed', 'orphan', 'trigger')
GROUP BY 1, 2 ORDER BY 1, 2;
