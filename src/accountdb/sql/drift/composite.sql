-- read --
-- Composite types, with their attributes in order.
SELECT n.nspname AS schema, NULL AS owner, t.typname AS name,
       jsonb_build_object(
           'definition', coalesce((
               SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
                                 || CASE WHEN a.attcollation <> b.typcollation
                                         THEN ' COLLATE ' || a.attcollation::regcollation::text ELSE '' END,
                                 ', ' ORDER BY a.attnum)
                 FROM pg_catalog.pg_attribute AS a
                 JOIN pg_catalog.pg_type AS b ON b.oid = a.atttypid
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')
       ) AS definition,
       t.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_type AS t ON t.oid = c.reltype
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND c.relkind = 'c'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e')
