-- may_read --
-- Whether this role may read the tables of pglogical; no row where there is none.
SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
   AND pg_catalog.bool_and(pg_catalog.has_table_privilege(c.oid, 'SELECT'))
  FROM pg_catalog.pg_namespace AS n
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
 WHERE n.nspname = 'pglogical'
   AND c.relname IN ('local_node', 'replication_set', 'replication_set_table', 'replication_set_seq', 'subscription')
 GROUP BY n.oid

-- read --
-- Replication sets of this node: what they send, and one attribute for each table or sequence in them.
SELECT '' AS schema, NULL AS owner, r.set_name AS name,
       jsonb_build_object(
           'operations', concat_ws(', ', CASE WHEN r.replicate_insert THEN 'insert' END,
                                         CASE WHEN r.replicate_update THEN 'update' END,
                                         CASE WHEN r.replicate_delete THEN 'delete' END,
                                         CASE WHEN r.replicate_truncate THEN 'truncate' END)
       ) || coalesce((SELECT jsonb_object_agg(
                                 'table ' || t.set_reloid::text,
                                 concat_ws(' ',
                                     (SELECT '(' || string_agg(quote_ident(u), ', ' ORDER BY u COLLATE "C") || ')'
                                        FROM unnest(t.set_att_list) AS u),
                                     'WHERE ' || pg_get_expr(t.set_row_filter, t.set_reloid)))
                        FROM pglogical.replication_set_table AS t
                       WHERE t.set_id = r.set_id), '{}')
         || coalesce((SELECT jsonb_object_agg('sequence ' || q.set_seqoid::text, '')
                        FROM pglogical.replication_set_seq AS q
                       WHERE q.set_id = r.set_id), '{}') AS definition,
       r.set_id::bigint AS id, 0 AS part
  FROM pglogical.replication_set AS r
  JOIN pglogical.local_node AS l ON l.node_id = r.set_nodeid

-- subscriptions --
-- pglogical's subscriptions of this node, named by the sets that they subscribe to; see subscription.sql.
SELECT '' AS schema, NULL AS owner,
       'to ' || s.sets || CASE WHEN s.number > 1 THEN ' ' || s.number ELSE '' END AS name,
       jsonb_build_object(
           'replication_sets', s.sets,
           'enabled', s.sub_enabled,
           'forward_origins', s.origins,
           'apply_delay', s.sub_apply_delay::text,
           'force_text_transfer', s.sub_force_text_transfer
       ) AS definition,
       0::bigint AS id, 0 AS part
  FROM (SELECT t.sub_enabled, t.sub_apply_delay, t.sub_force_text_transfer,
               coalesce(array_to_string(t.sub_forward_origins, ', '), '') AS origins, g.sets,
               row_number() OVER (PARTITION BY g.sets ORDER BY t.sub_name COLLATE "C") AS number
          FROM pglogical.subscription AS t
          JOIN pglogical.local_node AS l ON l.node_id = t.sub_target
         CROSS JOIN LATERAL (SELECT string_agg(quote_ident(u), ', ' ORDER BY u COLLATE "C") AS sets
                               FROM unnest(t.sub_replication_sets) AS u) AS g) AS s
