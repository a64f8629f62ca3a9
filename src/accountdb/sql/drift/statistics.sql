-- read --
-- Extended statistics; not their target.
SELECT n.nspname AS schema, NULL AS owner, s.stxname AS name,
       jsonb_build_object('definition', pg_get_statisticsobjdef(s.oid)) AS definition,
       s.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_statistic_ext AS s
  JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_statistic_ext'::regclass AND e.objid = s.oid AND e.deptype = 'e')
