-- read --
-- The compared schemas themselves.
SELECT n.nspname AS schema, NULL AS owner, n.nspname AS name, '{}'::jsonb AS definition,
       n.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_namespace AS n
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_namespace'::regclass AND e.objid = n.oid AND e.deptype = 'e')
