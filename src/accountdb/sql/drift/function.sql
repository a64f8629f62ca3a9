-- read --
-- Functions and procedures, named with their argument types. Language, volatility, security and settings
-- are part of the definition.
SELECT n.nspname AS schema, NULL AS owner,
       p.proname || '(' || oidvectortypes(p.proargtypes) || ')' AS name,
       jsonb_build_object('definition', pg_get_functiondef(p.oid)) AS definition,
       p.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_proc AS p
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND p.prokind IN ('f', 'p', 'w')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
