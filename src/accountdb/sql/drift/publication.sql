-- read --
-- Publications of the database: what they send, and one attribute for each table or schema in them.
SELECT '' AS schema, NULL AS owner, p.pubname AS name,
       jsonb_build_object(
           'operations', concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                                         CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END),
           'all_tables', p.puballtables,
           'via_root', p.pubviaroot,
           -- Only 18 and later have it.
           'generated_columns', CASE to_jsonb(p) ->> 'pubgencols' WHEN 's' THEN 'stored' END
       ) || coalesce((SELECT jsonb_object_agg(
                                 'table ' || r.prrelid::regclass,
                                 concat_ws(' ',
                                     (SELECT '(' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname) || ')'
                                        FROM pg_catalog.pg_attribute AS a
                                       WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)),
                                     'WHERE ' || pg_get_expr(r.prqual, r.prrelid)))
                        FROM pg_catalog.pg_publication_rel AS r
                       WHERE r.prpubid = p.oid), '{}')
         || coalesce((SELECT jsonb_object_agg('schema ' || quote_ident(n.nspname), '')
                        FROM pg_catalog.pg_publication_namespace AS s
                        JOIN pg_catalog.pg_namespace AS n ON n.oid = s.pnnspid
                       WHERE s.pnpubid = p.oid), '{}') AS definition,
       p.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_publication AS p

-- read_before_150000 --
SELECT '' AS schema, NULL AS owner, p.pubname AS name,
       jsonb_build_object(
           'operations', concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                                         CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END),
           'all_tables', p.puballtables,
           'via_root', p.pubviaroot
       ) || coalesce((SELECT jsonb_object_agg('table ' || r.prrelid::regclass, '')
                        FROM pg_catalog.pg_publication_rel AS r
                       WHERE r.prpubid = p.oid), '{}') AS definition,
       p.oid::bigint AS id, 0 AS part
  FROM pg_catalog.pg_publication AS p
