-- read --
-- Check, foreign key, primary key, unique and exclusion constraints of tables. Left to others: NOT NULL
-- (the column), constraint triggers (the trigger), and the copies that partitions get from their parent.
-- A comment on the index that enforces one counts too: it tells guards what to release. `mode` is that of the triggers which enforce it: DISABLE TRIGGER ALL silently switches a foreign key off.
SELECT n.nspname AS schema, c.relname AS owner, k.conname AS name,
       jsonb_build_object(
           'definition', regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
           'validated', k.convalidated,
           'mode', (SELECT string_agg(DISTINCT g.tgenabled::text, '' ORDER BY g.tgenabled::text)
                      FROM pg_catalog.pg_trigger AS g
                     WHERE g.tgconstraint = k.oid),
           'index_valid', CASE WHEN k.contype IN ('p', 'u', 'x') THEN i.indisvalid END,
           'index_comment', CASE WHEN k.contype IN ('p', 'u', 'x')
                                 THEN pg_catalog.obj_description(k.conindid, 'pg_class') END
       ) AS definition,
       k.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = k.conindid
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND c.relkind IN ('r', 'p')
   AND k.contype IN ('c', 'f', 'p', 'u', 'x')
   AND k.conparentid = 0
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
