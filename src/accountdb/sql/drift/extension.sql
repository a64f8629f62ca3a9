-- read --
-- Extensions of the database, whatever schema they are in. What they contain follows from their version.
SELECT '' AS schema, NULL AS owner, x.extname AS name,
       jsonb_build_object('schema', n.nspname, 'version', x.extversion) AS definition,
       x.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_extension AS x
  JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace
