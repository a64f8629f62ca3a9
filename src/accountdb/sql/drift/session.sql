-- What a reading session pins, so that the same structure is the same text on every server.

-- own_snapshot --
-- The first statement of a transaction of our own: one picture, and nothing can be written.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- pin --
-- Names come out qualified (nothing but pg_catalog is on the path) and constants in one form. The text of
-- views and rules waits for whoever has their tables locked: not for ever.
SELECT set_config(name, value, true)
  FROM (VALUES ('search_path', 'pg_catalog, pg_temp'),
               ('client_encoding', 'UTF8'),
               ('quote_all_identifiers', 'off'),
               ('standard_conforming_strings', 'on'),
               ('TimeZone', 'UTC'),
               ('DateStyle', 'ISO, YMD'),
               ('IntervalStyle', 'postgres'),
               ('extra_float_digits', '1'),
               ('bytea_output', 'hex'),
               ('lc_monetary', 'C'),
               ('lock_timeout', '5s')) AS pinned (name, value)
