-- read --
-- Domains; each check is an attribute `check NAME`. NOT NULL is read from the type on every version: 17
-- keeps it as a constraint too.
SELECT n.nspname AS schema, NULL AS owner, t.typname AS name,
       jsonb_build_object(
           'type', format_type(t.typbasetype, t.typtypmod),
           'collation', CASE WHEN t.typcollation <> b.typcollation THEN t.typcollation::regcollation::text END,
           'not_null', t.typnotnull,
           'default', pg_get_expr(t.typdefaultbin, 0)
       ) || coalesce((SELECT jsonb_object_agg('check ' || k.conname, pg_get_constraintdef(k.oid))
                        FROM pg_catalog.pg_constraint AS k
                       WHERE k.contypid = t.oid AND k.contype = 'c'), '{}') AS definition,
       t.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_type AS t
  JOIN pg_catalog.pg_type AS b ON b.oid = t.typbasetype
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND t.typtype = 'd'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e')
