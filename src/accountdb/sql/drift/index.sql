-- read --
-- Indexes of tables and materialised views, except those that a constraint made: the constraint speaks for
-- them. `parent` is the index of the partitioned table that a partition's index is attached to.
SELECT n.nspname AS schema, c.relname AS owner, x.relname AS name,
       jsonb_build_object(
           'definition', pg_get_indexdef(x.oid),
           'valid', i.indisvalid,
           'parent', h.inhparent::regclass::text
       ) AS definition,
       x.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = x.oid
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND c.relkind IN ('r', 'p', 'm')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k
                    WHERE k.conindid = x.oid AND k.contype IN ('p', 'u', 'x'))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid IN (c.oid, x.oid)
                      AND e.deptype = 'e')
