-- Single changes of the structure in fixing_base.sql, each under its name; semicolons stand only between statements.

-- schema added --
CREATE SCHEMA accountdb;
COMMENT ON SCHEMA accountdb IS 'ours';

-- schema granted --
GRANT CREATE ON SCHEMA public TO fix_reader;

-- extension added --
CREATE EXTENSION pgcrypto;

-- extension in a column --
CREATE EXTENSION citext;
ALTER TABLE users ADD alias citext;

-- enum added --
CREATE TYPE colour AS ENUM ('r''d', 'g\n');
ALTER TABLE users ADD colour colour DEFAULT 'g\n';

-- enum labels put in --
ALTER TYPE level ADD VALUE 'middle' BEFORE 'high';
ALTER TYPE level ADD VALUE 'top';
ALTER TYPE level ADD VALUE 'bottom' BEFORE 'low';

-- enum dropped --
DROP TYPE mood;

-- enum comment --
COMMENT ON TYPE mood IS 'm';
REVOKE USAGE ON TYPE mood FROM PUBLIC;

-- domain default --
ALTER DOMAIN mail SET DEFAULT 'a@b';

-- domain not null --
ALTER DOMAIN mail SET NOT NULL;

-- domain check dropped --
ALTER DOMAIN mail DROP CONSTRAINT at;

-- domain check changed --
ALTER DOMAIN mail DROP CONSTRAINT at;
ALTER DOMAIN mail ADD CONSTRAINT at CHECK (VALUE ~ 'c@');

-- domain check not valid --
ALTER DOMAIN mail ADD CONSTRAINT "Be.st" CHECK (VALUE <> 'a') NOT VALID;

-- domain type --
ALTER TABLE users ALTER contact TYPE text;
DROP DOMAIN mail;
CREATE DOMAIN mail AS varchar(90) CONSTRAINT at CHECK (VALUE ~ '@');
ALTER TABLE users ALTER contact TYPE mail;

-- domain added --
CREATE DOMAIN age AS integer CHECK (VALUE > 0);
ALTER TABLE users ADD years age DEFAULT 3;

-- composite added --
CREATE TYPE "t.w" AS (x level, y mail[], "Z" numeric(3, 1));

-- composite attribute --
ALTER TYPE pair ADD ATTRIBUTE z text;

-- composite attribute type --
ALTER TYPE pair ALTER ATTRIBUTE a TYPE bigint;

-- composite dropped --
DROP TYPE pair;

-- composite that is stored --
ALTER TYPE kept ADD ATTRIBUTE b text;

-- sequence added --
CREATE SEQUENCE "S.q" AS smallint START 7 MAXVALUE 900 CYCLE;

-- sequence dropped --
DROP SEQUENCE ticket;

-- sequence increment --
ALTER SEQUENCE ticket INCREMENT 3 MAXVALUE 1000 CACHE 5 CYCLE;

-- sequence type --
ALTER SEQUENCE ticket AS integer;

-- sequence owned --
ALTER SEQUENCE ticket OWNED BY users.age;

-- sequence granted --
GRANT USAGE ON SEQUENCE ticket TO fix_reader;

-- serial dropped --
ALTER TABLE users ALTER nr DROP DEFAULT;
DROP SEQUENCE users_nr_seq;

-- serial column dropped --
ALTER TABLE users DROP nr;

-- sequence of another column --
ALTER SEQUENCE users_nr_seq OWNED BY users.score;

-- table added --
CREATE TABLE extra (id integer PRIMARY KEY, s serial, u uuid REFERENCES users, g level, i bigint GENERATED ALWAYS
    AS IDENTITY (START 5));
COMMENT ON TABLE extra IS E'two\nlines';

-- table dropped --
DROP TABLE sessions CASCADE;

-- two tables that refer to each other --
CREATE TABLE a (id integer PRIMARY KEY, b integer);
CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;

-- table logged --
ALTER TABLE scratch SET LOGGED;

-- table unlogged --
ALTER PUBLICATION pub DROP TABLE sessions;
ALTER TABLE sessions SET UNLOGGED;

-- table renamed --
ALTER TABLE scratch RENAME TO itch;

-- table partitioned --
DROP TABLE scratch;
CREATE TABLE scratch (a integer) PARTITION BY LIST (a);
CREATE TABLE scratch_1 PARTITION OF scratch FOR VALUES IN (1);

-- partition detached --
ALTER TABLE log DETACH PARTITION log_2024;

-- partition added --
CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');

-- partition bound --
ALTER TABLE log DETACH PARTITION log_2024;
ALTER TABLE log ATTACH PARTITION log_2024 FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');

-- partition column --
ALTER TABLE log ADD who text;
ALTER TABLE log ALTER what SET NOT NULL;

-- partition column type --
ALTER TABLE log ALTER what TYPE varchar(90);

-- partition column dropped --
ALTER TABLE log DROP what;

-- partition index --
CREATE INDEX log_at_what ON log (at, what);

-- partition index dropped --
DROP INDEX log_what_idx;

-- partition check --
ALTER TABLE log ADD CONSTRAINT short CHECK (length(what) < 10);

-- partition check dropped --
ALTER TABLE log DROP CONSTRAINT log_what;

-- partition key dropped --
ALTER TABLE log DROP CONSTRAINT log_pk;

-- partition trigger --
CREATE TRIGGER second BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION touch();

-- partition trigger dropped --
DROP TRIGGER log_trg ON log;

-- partitioned table dropped --
DROP TABLE log;

-- heir detached --
ALTER TABLE heir NO INHERIT parent;

-- heir dropped --
DROP TABLE heir;

-- parent column --
ALTER TABLE parent ADD flag boolean DEFAULT true;

-- parent column dropped --
ALTER TABLE parent DROP word;

-- parent column type --
ALTER TABLE parent ALTER id TYPE bigint;

-- parent check dropped --
ALTER TABLE parent DROP CONSTRAINT parent_id;

-- row security --
ALTER TABLE users ENABLE ROW LEVEL SECURITY;

-- row security forced --
ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- replica identity full --
ALTER TABLE sessions REPLICA IDENTITY FULL;

-- replica identity index --
ALTER TABLE users REPLICA IDENTITY USING INDEX users_name;

-- table comment --
COMMENT ON TABLE users IS E'it''s\n\\ -- odd';

-- table comment dropped --
COMMENT ON TABLE users IS NULL;

-- column added --
ALTER TABLE users ADD phone text;

-- column added with default --
ALTER TABLE users ADD at timestamptz NOT NULL DEFAULT now(), ADD u uuid DEFAULT gen_random_uuid();

-- column dropped --
ALTER TABLE users DROP note;

-- column dropped under views --
DROP VIEW adults CASCADE;
ALTER TABLE users DROP age CASCADE;

-- column renamed --
ALTER TABLE users RENAME note TO remark;

-- column type wider --
ALTER TABLE users ALTER score TYPE bigint;

-- column type longer --
ALTER TABLE users ALTER nick TYPE varchar(41);

-- column type narrower --
ALTER TABLE users ALTER nick TYPE varchar(12);

-- column type through text --
ALTER TABLE users ALTER price TYPE text;
ALTER TABLE users ALTER code TYPE varchar(9);

-- column type json --
ALTER TABLE users ALTER tags TYPE json;

-- column type date --
ALTER TABLE users ALTER born TYPE timestamptz;

-- column type under views --
DROP VIEW adults CASCADE;
DROP TRIGGER trg ON users;
DROP POLICY own ON users;
ALTER TABLE users ALTER age TYPE bigint;
CREATE VIEW adults AS SELECT uuid, email, age FROM users WHERE age >= 18;
CREATE VIEW old_adults AS SELECT uuid, email FROM adults WHERE age > 60;
CREATE POLICY own ON users FOR SELECT TO fix_reader USING (age > 3);
CREATE TRIGGER trg BEFORE UPDATE OF name ON users FOR EACH ROW WHEN (new.age > 1) EXECUTE FUNCTION touch();

-- key type --
DROP VIEW counted;
DROP VIEW adults CASCADE;
ALTER PUBLICATION pub DROP TABLE users, sessions;
ALTER TABLE sessions DROP CONSTRAINT sessions_user;
ALTER TABLE sessions ALTER user_uuid TYPE text;
ALTER TABLE users ALTER uuid DROP DEFAULT, ALTER uuid TYPE text, ALTER uuid SET DEFAULT 'x';
ALTER TABLE sessions ADD CONSTRAINT sessions_user FOREIGN KEY (user_uuid) REFERENCES users ON DELETE CASCADE;
ALTER PUBLICATION pub ADD TABLE users (uuid, email), sessions;
CREATE VIEW adults AS SELECT uuid, email, age FROM users WHERE age >= 18;
CREATE VIEW old_adults AS SELECT uuid, email FROM adults WHERE age > 60;
CREATE VIEW counted AS SELECT u.uuid, u.name, count(s.uuid) AS n FROM users u LEFT JOIN sessions s ON s.user_uuid =
    u.uuid GROUP BY u.uuid;

-- column collation --
ALTER TABLE users ALTER note TYPE text COLLATE "C";

-- column default --
ALTER TABLE users ALTER name SET DEFAULT E'y\'\\';

-- column default dropped --
ALTER TABLE users ALTER name DROP DEFAULT;

-- column nullable --
ALTER TABLE users ALTER name DROP NOT NULL;

-- column not null --
ALTER TABLE users ALTER email SET NOT NULL;

-- column no longer generated --
ALTER TABLE users ALTER has_seen DROP EXPRESSION;

-- column generated otherwise --
ALTER TABLE users DROP has_seen, ADD has_seen boolean GENERATED ALWAYS AS (seen IS NULL) STORED;

-- column generated --
ALTER TABLE users ADD upper_name text GENERATED ALWAYS AS (upper(name)) STORED;

-- identity always --
ALTER TABLE users ALTER number SET GENERATED ALWAYS;

-- identity dropped --
ALTER TABLE users ALTER number DROP IDENTITY;

-- identity counts otherwise --
ALTER TABLE users ALTER number SET INCREMENT BY 2 SET MAXVALUE 10000;

-- identity added --
ALTER TABLE sessions ADD n integer GENERATED ALWAYS AS IDENTITY (START 3);

-- column storage --
ALTER TABLE users ALTER note SET STORAGE EXTERNAL;
ALTER TABLE users ALTER price SET STORAGE PLAIN;

-- column comment --
COMMENT ON COLUMN users.note IS 'n';
COMMENT ON COLUMN users.email IS NULL;

-- column grant --
GRANT SELECT (note), REFERENCES (note) ON users TO fix_reader;

-- check dropped --
ALTER TABLE users DROP CONSTRAINT users_age;

-- check changed --
ALTER TABLE users DROP CONSTRAINT users_age, ADD CONSTRAINT users_age CHECK (age > 0 AND age < 900);

-- check not valid --
ALTER TABLE users ADD CONSTRAINT young CHECK (age < 5) NOT VALID;

-- check no longer valid --
ALTER TABLE users DROP CONSTRAINT users_age, ADD CONSTRAINT users_age CHECK (age > 0) NOT VALID;

-- foreign key action --
ALTER TABLE sessions DROP CONSTRAINT sessions_user, ADD CONSTRAINT sessions_user FOREIGN KEY (user_uuid) REFERENCES
    users;

-- foreign key deferrable --
ALTER TABLE sessions ALTER CONSTRAINT sessions_user DEFERRABLE INITIALLY DEFERRED;

-- foreign key not valid --
ALTER TABLE sessions DROP CONSTRAINT sessions_user, ADD CONSTRAINT sessions_user FOREIGN KEY (user_uuid) REFERENCES
    users ON DELETE CASCADE NOT VALID;

-- unique nulls --
ALTER TABLE users DROP CONSTRAINT users_name, ADD CONSTRAINT users_name UNIQUE NULLS NOT DISTINCT (name);

-- unique dropped --
ALTER TABLE users DROP CONSTRAINT users_name;

-- unique comments --
COMMENT ON CONSTRAINT users_name ON users IS 'c';
COMMENT ON INDEX users_name IS 'accountdb: park';

-- primary key dropped --
ALTER TABLE sessions DROP CONSTRAINT sessions_pkey;

-- primary key that others refer to --
DROP VIEW counted;
ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE;

-- exclusion --
ALTER TABLE users ADD CONSTRAINT apart EXCLUDE USING btree (email WITH =) WHERE (age > 5);

-- constraint renamed --
ALTER TABLE users RENAME CONSTRAINT users_age TO users_age_check;

-- index added --
CREATE INDEX seen_idx ON users (seen DESC NULLS LAST) INCLUDE (email) WHERE age > 3;

-- index dropped --
DROP INDEX users_age_idx;

-- index unique --
DROP INDEX users_age_idx;
CREATE UNIQUE INDEX users_age_idx ON users (age);

-- index expression --
DROP INDEX users_email_uk;
CREATE UNIQUE INDEX users_email_uk ON users (upper(email)) WHERE email IS NOT NULL;

-- index comment --
COMMENT ON INDEX users_email_uk IS 'accountdb: release email';

-- statistics added --
CREATE STATISTICS "s.t" (ndistinct, mcv) ON name, (age + 1) FROM users;

-- statistics changed --
DROP STATISTICS users_stat;
CREATE STATISTICS users_stat ON age, name FROM users;

-- statistics dropped --
DROP STATISTICS users_stat;

-- function body --
CREATE OR REPLACE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT n + n';

-- function result --
DROP FUNCTION twice;
CREATE FUNCTION twice(n integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';

-- function argument name --
DROP FUNCTION twice;
CREATE FUNCTION twice(m integer) RETURNS integer LANGUAGE sql AS 'SELECT m * 2';

-- function overloaded --
CREATE FUNCTION twice(n text) RETURNS text LANGUAGE sql AS 'SELECT n || n';

-- function settings --
ALTER FUNCTION twice(integer) SECURITY DEFINER SET search_path = pg_catalog, public;

-- function dropped --
DROP FUNCTION twice;
DROP FUNCTION "F.(n";

-- function granted --
REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC;
GRANT EXECUTE ON FUNCTION twice TO fix_reader;

-- function of a missing table --
SET check_function_bodies = off;
CREATE FUNCTION later() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM nowhere';

-- function in a default, an index and a check --
CREATE FUNCTION nine() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 9';
ALTER TABLE users ALTER score SET DEFAULT nine(), ADD CONSTRAINT nined CHECK (twice(age) < 900 + nine());
CREATE INDEX twiced ON users (twice(age));

-- procedure --
DROP PROCEDURE clean;
CREATE PROCEDURE clean(n integer, OUT m integer) LANGUAGE sql AS 'SELECT 1';

-- aggregate added --
CREATE AGGREGATE most (integer) (SFUNC = add_up, STYPE = integer);

-- aggregate changed --
DROP AGGREGATE total (integer);
CREATE AGGREGATE total (integer) (SFUNC = add_up, STYPE = integer, INITCOND = '5');

-- aggregate dropped --
DROP AGGREGATE total (integer);

-- trigger added --
CREATE TRIGGER "T.r" AFTER INSERT ON sessions FOR EACH STATEMENT EXECUTE FUNCTION touch();

-- trigger dropped --
DROP TRIGGER trg ON users;

-- trigger changed --
CREATE OR REPLACE TRIGGER trg AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();

-- trigger disabled --
ALTER TABLE users DISABLE TRIGGER trg;

-- trigger replica --
ALTER TABLE users ENABLE REPLICA TRIGGER trg;

-- trigger always --
ALTER TABLE users ENABLE ALWAYS TRIGGER trg;

-- constraint trigger --
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON users DEFERRABLE FOR EACH ROW EXECUTE FUNCTION touch();

-- rule added --
CREATE RULE quiet AS ON INSERT TO heir DO ALSO NOTIFY heard;

-- rule changed --
CREATE OR REPLACE RULE no_delete AS ON DELETE TO sessions WHERE old.at IS NOT NULL DO INSTEAD NOTHING;

-- rule dropped --
DROP RULE no_delete ON sessions;

-- rule disabled --
ALTER TABLE sessions DISABLE RULE no_delete;

-- view changed --
CREATE OR REPLACE VIEW adults AS SELECT uuid, email, age FROM users WHERE age >= 21;

-- view options --
ALTER VIEW adults SET (security_barrier, security_invoker = true);

-- view dropped --
DROP VIEW "V.""iew";

-- view granted --
GRANT SELECT ON adults TO fix_reader;
COMMENT ON VIEW adults IS 'v';

-- view becomes a table --
DROP VIEW old_adults;
CREATE TABLE old_adults (uuid uuid, email text);

-- view trigger --
CREATE TRIGGER instead INSTEAD OF INSERT ON adults FOR EACH ROW EXECUTE FUNCTION touch();

-- view of words that newer servers know --
CREATE VIEW w AS SELECT note AS "json_value", score AS "json" FROM users;

-- materialised view changed --
DROP MATERIALIZED VIEW grades;
CREATE MATERIALIZED VIEW grades AS SELECT grade, sum(age) AS n FROM users GROUP BY grade;
CREATE UNIQUE INDEX grades_uk ON grades (grade);

-- materialised view dropped --
DROP MATERIALIZED VIEW grades;

-- policy added --
CREATE POLICY "p.o" ON sessions AS RESTRICTIVE FOR UPDATE TO fix_reader USING (true) WITH CHECK (at > now());

-- policy changed --
ALTER POLICY own ON users TO PUBLIC, fix_reader USING (age > 4);

-- policy dropped --
DROP POLICY own ON users;

-- publication added --
CREATE PUBLICATION "p.x" FOR TABLE heir, users WHERE (age > 3) WITH (publish_via_partition_root);

-- publication dropped --
DROP PUBLICATION pub;

-- publication operations --
ALTER PUBLICATION pub SET (publish = 'insert, update, delete');

-- publication columns --
ALTER PUBLICATION pub SET TABLE users (uuid, email, age), sessions WHERE (user_uuid IS NOT NULL);

-- publication table --
ALTER PUBLICATION pub DROP TABLE sessions;

-- publication of all --
DROP PUBLICATION pub;
CREATE PUBLICATION pub FOR ALL TABLES;

-- publication of a schema --
DROP PUBLICATION pub;
CREATE PUBLICATION pub FOR TABLES IN SCHEMA public;

-- grant --
GRANT DELETE, TRUNCATE ON users TO fix_reader;
GRANT SELECT ON sessions TO "fix ""odd"".角色", PUBLIC;

-- grant option --
REVOKE GRANT OPTION FOR INSERT ON users FROM fix_reader;

-- grant taken --
REVOKE ALL ON users FROM fix_reader;

-- enum made anew --
DROP VIEW counted;
DROP MATERIALIZED VIEW grades;
DROP FUNCTION graded;
DROP INDEX users_grade_idx;
ALTER TABLE users ALTER grade DROP DEFAULT;
ALTER TYPE level RENAME TO level_was;
CREATE TYPE level AS ENUM ('high', 'low');
ALTER TABLE users ALTER grade TYPE level USING grade::text::level, ALTER grade SET DEFAULT 'low', ALTER grades TYPE
    level[] USING grades::text::level[];
DROP TYPE level_was;
CREATE MATERIALIZED VIEW grades AS SELECT grade, count(*) AS n FROM users GROUP BY grade;
CREATE UNIQUE INDEX grades_uk ON grades (grade);
CREATE FUNCTION graded(g level) RETURNS text LANGUAGE sql IMMUTABLE RETURN g::text;
CREATE INDEX users_grade_idx ON users (grade) WHERE grade = 'high';
CREATE VIEW counted AS SELECT u.uuid, u.name, count(s.uuid) AS n FROM users u LEFT JOIN sessions s ON s.user_uuid =
    u.uuid GROUP BY u.uuid;

-- odd names --
DROP VIEW "V.""iew";
ALTER TABLE "We.ird ""t%s" ALTER "Col.x" TYPE bigint, ALTER "select" SET DEFAULT '$x$%', DROP CONSTRAINT "C.""x", ADD "n
l" text;
CREATE INDEX "很" ON "We.ird ""t%s" ("很很很很很很很很很很很很很很很很很很很很abc");
