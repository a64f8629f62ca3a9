-- What a session needs in which a fix runs: every name in it is qualified.

-- file --
\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET search_path = pg_catalog, pg_temp;
SET check_function_bodies = off;
SET lock_timeout = '5s';

-- local --
-- The same for one transaction.
SELECT set_config(name, value, true)
  FROM (VALUES ('search_path', 'pg_catalog, pg_temp'),
               ('check_function_bodies', 'off'),
               ('standard_conforming_strings', 'on'),
               ('lock_timeout', %(lock_timeout)s)) AS pinned (name, value)

-- facts --
-- What a plan may know of a database beyond its structure: the server's roles, the extensions it could make.
SELECT (SELECT array_agg(rolname::text) FROM pg_catalog.pg_roles),
       (SELECT array_agg(name::text) FROM pg_catalog.pg_available_extensions)

-- queries --
-- Views and materialised views as the server writes them.
SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized_view' END, n.nspname, c.relname, pg_get_viewdef(c.oid)
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[]) AND c.relkind IN ('v', 'm')

-- tables --
-- The tables with rows of their own, as schema and name.
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[]) AND c.relkind IN ('r', 'p')
