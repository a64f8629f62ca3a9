-- read --
-- Rules of tables and views, with their mode as for triggers. The one that makes a view is the view.
SELECT n.nspname AS schema, c.relname AS owner, r.rulename AS name,
       jsonb_build_object('definition', pg_get_ruledef(r.oid), 'mode', r.ev_enabled::text) AS definition,
       r.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_rewrite AS r
  JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND c.relkind IN ('r', 'p', 'v')
   AND r.rulename <> '_RETURN'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
