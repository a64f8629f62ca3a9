-- What servers print in more than one way, or might: between major versions, and after a dump and restore.
SET search_path = public;

CREATE TYPE mood AS ENUM ('sad', 'it''s', 'happy', 'back\slash');
CREATE DOMAIN mail AS varchar(200) DEFAULT 'x@y' NOT NULL
    CHECK (VALUE ~ '@') CONSTRAINT short CHECK (length(VALUE) < 100 AND VALUE IN ('a@', 'b@'));
CREATE SEQUENCE seq AS int INCREMENT 5 MINVALUE 5 CYCLE;

CREATE TABLE t (
    id serial PRIMARY KEY,
    idn bigint GENERATED ALWAYS AS IDENTITY,
    dead text,
    status varchar(20) NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'old')),
    kind varchar CHECK (kind NOT IN ('a', 'b') OR kind IS NULL),
    one varchar CHECK (one IN ('a')),
    arr varchar[] DEFAULT ARRAY['a', 'b'] CHECK (arr <@ ARRAY['a', 'b']::varchar[]),
    ch char(3) CHECK (ch IN ('abc', 'def')),
    nm name CHECK (nm IN ('a', 'b')),
    m mood DEFAULT 'sad' CHECK (m IN ('sad', 'happy')),
    e mail,
    small smallint DEFAULT -1 CHECK (small IN (1, 2, -3)),
    big bigint DEFAULT -5 CHECK (big BETWEEN 1 AND 10),
    num numeric(10, 2) DEFAULT -1.5 CHECK (num IN (1, 2.5)),
    f float8 DEFAULT 0.1 CHECK (f > -1),
    ts timestamptz DEFAULT '2020-01-01 00:00:00+02' CHECK (ts > '2019-01-01'),
    iv interval DEFAULT '1 day 02:00',
    d date DEFAULT current_date CHECK (d IN ('2020-01-01', '2021-01-01')),
    j jsonb DEFAULT '{"a": [1, "x"]}' CHECK (j ->> 'a' IS NOT NULL AND jsonb_typeof(j) = 'object'),
    "json" json,
    "order" int,
    "A.b" text COLLATE "C",
    json_value text,
    by bytea DEFAULT '\x00ff',
    money money DEFAULT '1.5',
    x xml,
    b boolean DEFAULT (NOT false),
    gen text GENERATED ALWAYS AS (lower(status) || 'x') STORED,
    CHECK ((id > 0 AND big > 0) AND (small > 0 AND num > 0) OR b),
    CHECK (id > 0 AND (big > 0 AND small > 0)),
    CONSTRAINT bs CHECK (
        status <> E'a\\b' AND status !~ '^a$' AND status LIKE 'a%' AND status = ANY ('{a,b}')
        AND status NOT LIKE ANY (ARRAY['a%', 'b%']) AND lower(status) IN ('a', 'b')
        AND (status, kind) IN (('a', 'b'), ('c', 'd')) AND coalesce(status, kind) IN ('a', 'b')
    )
);
ALTER TABLE t DROP COLUMN dead;
ALTER TABLE t ADD CONSTRAINT later CHECK (id < 100000) NOT VALID;
CREATE INDEX i1 ON t (lower(status)) WHERE status IN ('a', 'b') AND m IN ('sad');
CREATE UNIQUE INDEX i2 ON t (id, (status || 'x') COLLATE "C" text_pattern_ops DESC NULLS LAST)
    INCLUDE (big) NULLS NOT DISTINCT WHERE kind IS DISTINCT FROM 'a';
CREATE INDEX i3 ON t ("json_value", "order", (coalesce("json"::text, "A.b")));
CREATE INDEX i4 ON t USING gin (j jsonb_path_ops);

CREATE TABLE parts (
    id int, at timestamptz NOT NULL DEFAULT now(), s varchar CHECK (s IN ('q', 'w')), PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE parts_d PARTITION OF parts DEFAULT;
CREATE INDEX ON parts (s);
CREATE TABLE ref (
    id int,
    at timestamptz,
    tid int REFERENCES t ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (id, at) REFERENCES parts ON DELETE SET NULL (id),
    EXCLUDE USING gist (int4range(id, tid) WITH &&),
    UNIQUE (tid) DEFERRABLE
);
CREATE TABLE inh (z int) INHERITS (ref);
CREATE UNLOGGED TABLE unl (a int);
CREATE TABLE "We.ird" ("Col.x" int CHECK ("Col.x" > 0), s serial);
CREATE INDEX "I.x" ON "We.ird" ("Col.x");

CREATE FUNCTION f(a int, b text DEFAULT 'x', OUT c int) LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public SET work_mem = '1MB' AS $$ BEGIN c := a; END $$;
CREATE FUNCTION sq(a mood) RETURNS SETOF t LANGUAGE sql
BEGIN ATOMIC
    SELECT * FROM t WHERE m = a;
    SELECT t.* FROM t WHERE status IN ('a', 'b') AND CASE WHEN id > 1 THEN true ELSE false END;
END;
CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS $$begin return new; end$$;
CREATE PROCEDURE pr(x int) LANGUAGE sql AS 'select 1';

CREATE TRIGGER tr1 BEFORE INSERT OR UPDATE OF status, id ON t FOR EACH ROW
    WHEN (new.status IN ('a', 'b') AND new.kind IS NOT NULL) EXECUTE FUNCTION trg('a', 'b''c');
CREATE TRIGGER tr2 AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION trg();
CREATE CONSTRAINT TRIGGER tr3 AFTER INSERT ON parts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION trg();
CREATE TRIGGER tr4 AFTER UPDATE ON t REFERENCING OLD TABLE AS o NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION trg();
ALTER TABLE t DISABLE TRIGGER tr1;
ALTER TABLE t ENABLE ALWAYS TRIGGER tr4;

CREATE VIEW v1 WITH (security_barrier) AS SELECT * FROM t;
CREATE VIEW v2 AS SELECT id, status AS s, 'parts.id' AS lit, t.id + 1 AS "t.id" FROM t
    WHERE status IN ('a', 'b')
      AND EXISTS (SELECT 1 FROM ref WHERE ref.tid = t.id AND ref.id IN (SELECT t.id FROM t))
    ORDER BY t.status LIMIT 3;
CREATE VIEW v3 AS SELECT u.id, count(*) AS n, max(u.big) FILTER (WHERE u.id > 1) FROM t u
    GROUP BY u.id HAVING count(*) > 1;
CREATE VIEW v4 AS SELECT t.id, r.tid FROM t JOIN ref r ON r.tid = t.id LEFT JOIN parts p ON p.id = r.id;
CREATE VIEW v5 AS WITH q AS (SELECT id, status FROM t)
    SELECT q.id FROM q WHERE q.status IN (SELECT status FROM t);
CREATE VIEW v6 AS SELECT id FROM t UNION ALL SELECT id FROM parts ORDER BY 1;
CREATE VIEW v7 AS SELECT g.n, g.n * 2 AS m FROM generate_series(1, 10) AS g (n);
CREATE VIEW v8 AS SELECT s.x FROM (SELECT id AS x FROM t) s WHERE s.x > 1;
CREATE VIEW v9 AS SELECT id, rank() OVER w AS r, extract(year FROM at) AS y, at AT TIME ZONE 'UTC' AS z FROM parts
    WINDOW w AS (PARTITION BY s ORDER BY at);
CREATE VIEW v10 AS SELECT "order", "json", "A.b", "json_value" FROM t AS "Weird ""t";
CREATE VIEW v11 AS VALUES (1, 'a'), (2, 'b');
CREATE VIEW v12 AS SELECT (t).status AS st, t AS whole, row_to_json(t.*) AS rj FROM t;
CREATE VIEW v13 AS SELECT DISTINCT ON (t.status) t.* FROM ONLY ref AS t (a, b, status);
CREATE VIEW v14 AS SELECT u.x, u.o FROM unnest(ARRAY[1, 2]) WITH ORDINALITY u (x, o);
CREATE VIEW v15 AS SELECT n.id FROM t n, LATERAL (SELECT n.id + 1 AS k) l WHERE l.k > 1;
CREATE VIEW v16 AS SELECT current_date AS c, current_user AS u, 1 AS one;
CREATE VIEW v17 AS SELECT id FROM v4 WHERE id IS DISTINCT FROM 3 AND (SELECT max(t.id + v4.id) FROM t) > 1;
CREATE VIEW v18 AS SELECT id, CASE WHEN status IN ('a', 'b') THEN 1 WHEN status LIKE 'x%' THEN 2 END AS c,
    substring(status FROM 1 FOR 2) AS sub, position('a' IN status) AS p, status::text || 'q' AS q,
    trim(BOTH 'x' FROM status) AS tr, overlay(status PLACING 'x' FROM 1) AS ov FROM t TABLESAMPLE system (10);
CREATE VIEW v19 AS WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r;
CREATE VIEW v20 AS SELECT public.t.id FROM public.t FOR UPDATE;
CREATE VIEW v21 AS SELECT id FROM unl RIGHT JOIN t ON true;
CREATE VIEW v22 AS SELECT json_value, lower(json_value) AS json_object FROM t;
CREATE VIEW v23 AS SELECT status, kind, count(*) FROM t GROUP BY GROUPING SETS ((status), (kind), ()) ORDER BY 3 DESC;
CREATE VIEW v24 AS SELECT (SELECT count(*) FROM ref WHERE ref.tid = users.id) AS n, users.* FROM t AS users;
CREATE VIEW v25 AS (SELECT id FROM t EXCEPT SELECT id FROM parts) INTERSECT SELECT id FROM ref;
CREATE VIEW v26 AS SELECT x.k, x.v FROM jsonb_each('{"a": 1}') AS x (k, v);
CREATE VIEW v27 AS SELECT r.a, r.b FROM json_to_record('{"a": 1}') AS r (a int, b text);
CREATE VIEW v28 AS SELECT a.x, a.y FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS a (x, y);
CREATE VIEW v29 AS SELECT public.id FROM t AS public;
CREATE VIEW v30 AS SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM t;
CREATE VIEW v31 AS SELECT status COLLATE "C" AS s, ARRAY(SELECT t2.id FROM t AS t2 WHERE t2.id = t.id) AS ids FROM t;
CREATE VIEW v32 AS SELECT xmlelement(name a, xmlattributes(id AS i), status) AS x, j -> 'a' AS k FROM t;

CREATE FUNCTION vtrg() RETURNS trigger LANGUAGE plpgsql AS $$begin return null; end$$;
CREATE TRIGGER iov INSTEAD OF INSERT ON v4 FOR EACH ROW EXECUTE FUNCTION vtrg();

CREATE SCHEMA accountdb;
COMMENT ON SCHEMA accountdb IS E'two\nlines, it''s "quoted", 100 %';
GRANT USAGE ON SCHEMA accountdb TO PUBLIC;
GRANT ALL ON SCHEMA accountdb TO "we'ird ""r.%" WITH GRANT OPTION;
CREATE EXTENSION IF NOT EXISTS pgcrypto SCHEMA accountdb;

CREATE TYPE pair AS (a int, "B.c" text COLLATE "C", m mood, n numeric(10, 2)[]);
CREATE TYPE gone AS (a int, b text, c int);
ALTER TYPE gone DROP ATTRIBUTE b;
CREATE TYPE nothing AS ();
CREATE MATERIALIZED VIEW mv1 AS SELECT id, status, 't.id' AS lit FROM t WHERE status IN ('a', 'b') WITH NO DATA;
CREATE MATERIALIZED VIEW "M.v2" AS SELECT t.id, r.tid FROM t JOIN ref r ON r.tid = t.id WHERE t.kind NOT IN ('x', 'y');
CREATE UNIQUE INDEX "mv.1 id" ON mv1 (id) WHERE status IN ('a', 'b');
CREATE INDEX ON "M.v2" (tid DESC);

CREATE STATISTICS st1 (dependencies, mcv) ON status, kind FROM t;
CREATE STATISTICS "st.2" ON (lower(status)), ("A.b" || 'x'), big FROM t;
CREATE STATISTICS accountdb.st3 (ndistinct) ON id, at FROM parts;

CREATE POLICY p1 ON t USING (status IN ('a', 'b') AND EXISTS (SELECT 1 FROM ref WHERE ref.tid = t.id AND ref.id IN (1, 2)));
CREATE POLICY "p.2" ON t AS RESTRICTIVE FOR UPDATE TO "we'ird ""r.%", account USING (true) WITH CHECK (kind NOT IN ('x', 'y'));
CREATE POLICY p3 ON ref FOR INSERT TO PUBLIC WITH CHECK ((SELECT max(t.id) FROM t WHERE t.kind = 'x') > ref.id);
CREATE POLICY p4 ON parts FOR DELETE USING (current_user = 'x' AND (SELECT count(*) FROM parts) > 1);
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
ALTER TABLE t FORCE ROW LEVEL SECURITY;
ALTER TABLE ref FORCE ROW LEVEL SECURITY;

CREATE RULE r1 AS ON INSERT TO unl DO ALSO INSERT INTO inh (id) SELECT new.a FROM t WHERE t.status IN ('a', 'b');
CREATE RULE "r.2" AS ON UPDATE TO v8 WHERE new.x > old.x DO INSTEAD (UPDATE t SET big = new.x WHERE t.id = old.x; DELETE FROM unl);
CREATE RULE r3 AS ON DELETE TO v8 DO INSTEAD (NOTIFY done; DELETE FROM unl WHERE a IN (old.x, 2));
CREATE RULE r4 AS ON INSERT TO v8 DO INSTEAD INSERT INTO unl VALUES (new.x) RETURNING a;
ALTER TABLE unl DISABLE RULE r1;

CREATE FUNCTION step(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, 0) + $2';
CREATE FUNCTION ending(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::text';
CREATE AGGREGATE total(int) (SFUNC = step, STYPE = int, INITCOND = '0', FINALFUNC = ending, PARALLEL = SAFE);
CREATE AGGREGATE "to.tal"(int) (SFUNC = step, STYPE = int, MSFUNC = step, MINVFUNC = step, MSTYPE = int, MINITCOND = '1');
CREATE AGGREGATE bigger(int) (SFUNC = int4larger, STYPE = int, SORTOP = >);
CREATE AGGREGATE middle(float8 ORDER BY anyelement) (
    SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA
);
CREATE AGGREGATE every_one(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0');

CREATE TABLE keyed (a int NOT NULL, b text, c bytea, "D.e" text);
ALTER TABLE keyed ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE MAIN;
CREATE UNIQUE INDEX "keyed.a" ON keyed (a);
ALTER TABLE keyed REPLICA IDENTITY USING INDEX "keyed.a";
ALTER TABLE ref REPLICA IDENTITY FULL;
ALTER TABLE unl REPLICA IDENTITY NOTHING;

CREATE TABLE part2 (id int, at date, x text, CONSTRAINT part2_key UNIQUE (id, at)) PARTITION BY LIST (at);
CREATE TABLE part2_a (id int, at date, x text, CONSTRAINT own_key UNIQUE (id, at), CHECK (x <> ''));
ALTER TABLE part2 ATTACH PARTITION part2_a FOR VALUES IN ('2020-01-01');
CREATE INDEX part2_x ON ONLY part2 (x);
CREATE INDEX part2_a_x ON part2_a (x);
ALTER INDEX part2_x ATTACH PARTITION part2_a_x;
CREATE TABLE part2_b PARTITION OF part2 DEFAULT PARTITION BY HASH (id);
CREATE TABLE part2_b0 PARTITION OF part2_b FOR VALUES WITH (MODULUS 1, REMAINDER 0);
ALTER TABLE part2 ADD CONSTRAINT to_t FOREIGN KEY (id) REFERENCES t;

GRANT ALL ON t TO "we'ird ""r.%";
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "we'ird ""r.%";
GRANT SELECT, UPDATE ON ref TO PUBLIC;
GRANT SELECT ON v1, mv1 TO account WITH GRANT OPTION;
GRANT SELECT (id, "A.b"), UPDATE (status) ON t TO account, PUBLIC;
GRANT INSERT (a) ON keyed TO "we'ird ""r.%" WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION f(int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION total(int), f(int, text) TO "we'ird ""r.%";
REVOKE USAGE ON TYPE mood, pair FROM PUBLIC;
GRANT USAGE ON TYPE mail, pair TO "we'ird ""r.%";
COMMENT ON TABLE t IS 'table';
COMMENT ON COLUMN t."A.b" IS 'column';
COMMENT ON CONSTRAINT bs ON t IS 'constraint';
COMMENT ON INDEX i1 IS 'index';
COMMENT ON INDEX t_pkey IS 'index of a constraint';
COMMENT ON TRIGGER tr1 ON t IS 'trigger';
COMMENT ON VIEW v1 IS 'view';
COMMENT ON MATERIALIZED VIEW mv1 IS 'materialised view';
COMMENT ON FUNCTION f(int, text) IS 'function';
COMMENT ON AGGREGATE total(int) IS 'aggregate';
COMMENT ON TYPE mood IS 'enum';
COMMENT ON TYPE pair IS 'composite';
COMMENT ON DOMAIN mail IS 'domain';
COMMENT ON SEQUENCE seq IS 'sequence';
COMMENT ON STATISTICS st1 IS 'statistics';
COMMENT ON POLICY p1 ON t IS 'policy';
COMMENT ON RULE r1 ON unl IS 'rule';

CREATE PUBLICATION "pub.1" FOR TABLE t (id, status, "A.b") WHERE (big IN (1, 2) AND id > 3), keyed WHERE ("D.e" <> ''), part2
    WITH (publish = 'insert, delete', publish_via_partition_root = true);
CREATE PUBLICATION pub2 FOR TABLES IN SCHEMA accountdb;
CREATE PUBLICATION pub3 FOR ALL TABLES;
CREATE PUBLICATION pub4;
COMMENT ON PUBLICATION pub3 IS 'publication';
CREATE SUBSCRIPTION "sub.1" CONNECTION 'host=127.0.0.1 port=1 password=secret' PUBLICATION a, "B"
    WITH (connect = false, slot_name = NONE, binary, disable_on_error, synchronous_commit = on);
COMMENT ON SUBSCRIPTION "sub.1" IS 'subscription';
