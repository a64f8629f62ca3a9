-- read --
-- Enums, with their labels in order.
SELECT n.nspname AS schema, NULL AS owner, t.typname AS name,
       jsonb_build_object(
           'labels', (SELECT string_agg(quote_literal(l.enumlabel), ', ' ORDER BY l.enumsortorder)
                        FROM pg_catalog.pg_enum AS l
                       WHERE l.enumtypid = t.oid)
       ) AS definition,
       t.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_type AS t
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND t.typtype = 'e'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e')
