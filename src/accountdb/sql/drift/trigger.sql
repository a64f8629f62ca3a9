-- read --
-- Triggers of tables and views, with their mode: O origin (usual), D disabled, R replica, A always.
-- Internal ones belong to constraints. Up to 14 a partition's copy of a trigger was marked internal; it
-- is told by its parent and by having no constraint.
SELECT n.nspname AS schema, c.relname AS owner, t.tgname AS name,
       jsonb_build_object(
           'definition', pg_get_triggerdef(t.oid),
           'mode', t.tgenabled::text
       ) AS definition,
       t.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_trigger AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND c.relkind IN ('r', 'p', 'v')
   AND (NOT t.tgisinternal OR (t.tgparentid <> 0 AND t.tgconstraint = 0))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.deptype = 'e'
                      AND ((e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid)
                        OR (e.classid = 'pg_catalog.pg_trigger'::regclass AND e.objid = t.oid)))
