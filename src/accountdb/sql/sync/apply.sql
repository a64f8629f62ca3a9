What a pass writes, in one transaction of the target for each group of tables. {own} is the table without the rows of
tables that inherit from it.

-- settings --
SELECT pg_catalog.set_config('accountdb.apply', 'on', true), pg_catalog.set_config('accountdb.judged', %(judged)s, true),
       pg_catalog.set_config('lock_timeout', '30s', true);

-- stage --
CREATE TEMP TABLE {stage} ON COMMIT DROP AS SELECT NULL::boolean AS accountdb_present, {columns} FROM {table} AS t WITH NO DATA;

-- receive --
COPY {into} ({columns}) FROM STDIN (FORMAT {format});

-- analyze --
ANALYZE {stage};

-- insert --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {staged} FROM {stage} AS s
WHERE s.accountdb_present AND NOT EXISTS (SELECT FROM {own} AS t WHERE {match});

-- add --
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {staged} FROM {stage} AS s WHERE s.accountdb_present IS DISTINCT FROM false
ON CONFLICT DO NOTHING;

-- update --
-- By the bytes: equality of a type may be coarser than what it holds.
UPDATE {own} AS t SET ({changed}) = ROW ({changed_staged})
FROM {stage} AS s
WHERE s.accountdb_present AND {match} AND ROW ({changed_here})::record OPERATOR (pg_catalog.*<>) ROW ({changed_staged})::record;

-- doomed --
SELECT pg_catalog.count(*) FROM {own} AS t JOIN {stage} AS s ON {match} WHERE NOT s.accountdb_present;

-- delete --
DELETE FROM {own} AS t USING {stage} AS s WHERE NOT s.accountdb_present AND {match};

-- staged --
SELECT pg_catalog.count(*) FILTER (WHERE s.accountdb_present), pg_catalog.count(*) FROM {stage} AS s;

-- rivals --
-- Rows that hold a unique value which a staged row brings: by key, and whether they are staged too.
SELECT DISTINCT {keys}, EXISTS (SELECT FROM {stage} AS o WHERE {other})
FROM {bringing} AS s CROSS JOIN LATERAL (SELECT t.* FROM {own} AS t WHERE {claim} LIMIT 1) AS t
WHERE s.accountdb_present AND NOT ({match});

-- vacate --
UPDATE {own} AS t SET {changes} FROM unnest({arrays}) AS w ({names}) WHERE {wanted};

-- give_way --
DELETE FROM {own} AS t USING unnest({arrays}) AS w ({names}) WHERE {wanted};

-- empty --
SELECT NOT EXISTS (SELECT FROM {own});

-- rows --
-- By the server's own estimate, -1 where it has none.
SELECT c.reltuples::bigint FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass;

-- count --
SELECT pg_catalog.count(*) FROM {own};

-- lock --
LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;

-- triggers --
SELECT t.tgname, t.tgenabled::text FROM pg_catalog.pg_trigger AS t
WHERE t.tgrelid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass
  AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgname = ANY (%(names)s::text[]);

-- waited_for --
-- Constraints and triggers of a table that have to do with inserts and may wait for the end of the transaction.
SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
               WHERE t.tgrelid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass
                 AND t.tgdeferrable AND t.tgenabled <> 'D' AND t.tgtype::int & 4 = 4);

-- off --
ALTER TABLE {table} DISABLE TRIGGER {trigger};

-- on --
ALTER TABLE {table} {mode} TRIGGER {trigger};

-- fixed --
-- Foreign keys of a table that are checked row by row.
SELECT c.conname FROM pg_catalog.pg_constraint AS c
WHERE c.conrelid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass
  AND c.contype = 'f' AND NOT c.condeferrable AND c.conparentid = 0;

-- loosen --
ALTER TABLE {table} ALTER CONSTRAINT {constraint} DEFERRABLE INITIALLY DEFERRED;

-- fasten --
ALTER TABLE {table} ALTER CONSTRAINT {constraint} NOT DEFERRABLE;
