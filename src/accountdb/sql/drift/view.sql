-- read --
-- Views, with options such as security_invoker.
SELECT n.nspname AS schema, NULL AS owner, c.relname AS name,
       jsonb_build_object(
           'definition', pg_get_viewdef(c.oid),
           'options', (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(c.reloptions) AS o)
       ) AS definition,
       c.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND c.relkind = 'v'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
