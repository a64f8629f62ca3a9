-- read --
-- Tables and partitioned tables.
SELECT n.nspname AS schema, NULL AS owner, c.relname AS name,
       jsonb_build_object(
           'form', CASE c.relkind WHEN 'p' THEN 'partitioned table' ELSE 'table' END,
           'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
           'partition_key', CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END,
           'partition_bound', pg_get_expr(c.relpartbound, c.oid),
           'parents', (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
                         FROM pg_catalog.pg_inherits AS i
                        WHERE i.inhrelid = c.oid),
           'row_security', nullif(concat_ws(', ', CASE WHEN c.relrowsecurity THEN 'enabled' END,
                                                  CASE WHEN c.relforcerowsecurity THEN 'forced' END), ''),
           'replica_identity', CASE c.relreplident WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full'
                                    WHEN 'i' THEN 'index ' || (SELECT x.relname
                                                                 FROM pg_catalog.pg_index AS r
                                                                 JOIN pg_catalog.pg_class AS x ON x.oid = r.indexrelid
                                                                WHERE r.indrelid = c.oid AND r.indisreplident) END
       ) AS definition,
       c.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s::text[])
   AND c.relkind IN ('r', 'p')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
