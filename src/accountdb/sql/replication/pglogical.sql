pglogical 2.4.

-- subscriptions --
-- Only where there is a local node: without one the function raises an error.
SELECT s.subscription_name, s.status, s.slot_name FROM pglogical.show_subscription_status() AS s
WHERE 'rep_all' = ANY (s.replication_sets)
ORDER BY 1;

-- subscriptions_of_node --
-- The same, and none where there is no local node: then the function is not called.
SELECT s.subscription_name, s.status, s.slot_name FROM pglogical.show_subscription_status() AS s
WHERE EXISTS (SELECT FROM pglogical.local_node) AND 'rep_all' = ANY (s.replication_sets)
ORDER BY 1;

-- states --
-- The same for a role without rights on pglogical.
SELECT s.subscription, s.state, s.slot FROM accountdb.subscription_states() AS s ORDER BY 1;

-- may_read --
-- By the catalog: to name a function in a schema that it may not use is an error for a role.
SELECT coalesce((SELECT pg_catalog.bool_or(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                                           AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))
                 FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
                 WHERE n.nspname = 'pglogical' AND p.proname = 'show_subscription_status'), false),
       pg_catalog.to_regprocedure('accountdb.subscription_states()') IS NOT NULL
   AND pg_catalog.has_function_privilege('accountdb.subscription_states()', 'EXECUTE'),
       EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pglogical');

-- local_node --
SELECT n.node_name FROM pglogical.local_node AS l JOIN pglogical.node AS n USING (node_id);

-- short_tables --
-- Tables in rep_all with a column list or a row filter. A set that leaves out a generated column
-- crashes the server in a loop.
SELECT c.relname
FROM pglogical.replication_set_table AS t
JOIN pglogical.replication_set AS r USING (set_id)
JOIN pg_catalog.pg_class AS c ON c.oid = t.set_reloid
WHERE r.set_name = %(name)s AND (t.set_att_list IS NOT NULL OR t.set_row_filter IS NOT NULL)
ORDER BY 1;

-- offered --
SELECT n.nspname, c.relname
FROM pglogical.replication_set_table AS t
JOIN pglogical.replication_set AS r USING (set_id)
JOIN pg_catalog.pg_class AS c ON c.oid = t.set_reloid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE r.set_name = %(name)s;

-- interface --
-- Provider node, its interface and connection of one subscription.
SELECT n.node_name, i.if_name, i.if_dsn
FROM pglogical.subscription AS s
JOIN pglogical.node_interface AS i ON i.if_id = s.sub_origin_if
JOIN pglogical.node AS n ON n.node_id = s.sub_origin
WHERE s.sub_name = %(name)s;

-- provider --
-- Connection and slot of one subscription.
SELECT i.if_dsn, s.sub_slot_name
FROM pglogical.subscription AS s
JOIN pglogical.node_interface AS i ON i.if_id = s.sub_origin_if
WHERE s.sub_name = %(name)s;

-- slot_name --
-- The slot that pglogical will make on a provider.
SELECT pglogical.pglogical_gen_slot_name(%(database)s::name, %(node)s::name, %(name)s::name)::text;

-- other_origins --
-- The nodes that this region follows, but for one.
SELECT n.node_name::text FROM pglogical.subscription AS s JOIN pglogical.node AS n ON n.node_id = s.sub_origin
WHERE n.node_name <> %(node)s::name ORDER BY 1;

-- left_slot --
SELECT s.active FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = %(slot)s;

-- settings --
SELECT pg_catalog.set_config('accountdb.node_name', %(node)s, false),
       pg_catalog.set_config('accountdb.node_dsn', %(node_dsn)s, false),
       pg_catalog.set_config('accountdb.subscription_name', %(subscription)s, false),
       pg_catalog.set_config('accountdb.provider_dsn', %(provider_dsn)s, false),
       pg_catalog.set_config('accountdb.exclude', %(exclude)s::text[]::text, false);

-- forget_settings --
SELECT pg_catalog.set_config(s, '', false)
FROM pg_catalog.unnest(ARRAY['accountdb.node_dsn', 'accountdb.provider_dsn']) AS s;
