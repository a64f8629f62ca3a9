The record of what guards and merges settled, and of what people made of it.

-- readable --
-- Whether the tables are here, and whether this role may read and close conflicts.
SELECT t.here,
       CASE WHEN t.here THEN pg_catalog.has_table_privilege('accountdb.conflict', 'SELECT')
            AND pg_catalog.has_table_privilege('accountdb.resolution', 'SELECT, INSERT') END
FROM (SELECT pg_catalog.to_regclass('accountdb.conflict') IS NOT NULL
         AND pg_catalog.to_regclass('accountdb.resolution') IS NOT NULL) AS t (here);

-- open --
SELECT c.id, c.kind, c.table_schema, c.table_name, c.row_key, c.rule, c.detail, c.winner::text, c.loser::text,
       c.state, c.node, c.recorded_at
FROM accountdb.conflict AS c
WHERE c.state = 'open' AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)
ORDER BY c.recorded_at, c.id;

-- every --
SELECT c.id, c.kind, c.table_schema, c.table_name, c.row_key, c.rule, c.detail, c.winner::text, c.loser::text,
       c.state, c.node, c.recorded_at
FROM accountdb.conflict AS c
ORDER BY c.recorded_at, c.id;

-- between --
-- Those whose id begins with one prefix.
SELECT c.id, c.kind, c.table_schema, c.table_name, c.row_key, c.rule, c.detail, c.winner::text, c.loser::text,
       c.state, c.node, c.recorded_at
FROM accountdb.conflict AS c
WHERE c.id BETWEEN %(low)s AND %(high)s
ORDER BY c.recorded_at, c.id
LIMIT 20;

-- open_heads --
-- What a list of many is made of: no rows.
SELECT c.id, c.kind, c.table_schema, c.table_name, c.recorded_at
FROM accountdb.conflict AS c
WHERE c.state = 'open' AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)
ORDER BY c.recorded_at, c.id;

-- of_ids --
SELECT c.id, c.kind, c.table_schema, c.table_name, c.row_key, c.rule, c.detail, c.winner::text, c.loser::text,
       c.state, c.node, c.recorded_at
FROM accountdb.conflict AS c
WHERE c.id = ANY (%(ids)s::uuid[])
ORDER BY c.recorded_at, c.id;

-- newest --
SELECT c.id, c.recorded_at
FROM accountdb.conflict AS c
ORDER BY c.recorded_at DESC, c.id
LIMIT %(most)s;

-- open_of_row --
SELECT c.id, c.kind, c.table_schema, c.table_name, c.row_key, c.rule, c.detail, c.winner::text, c.loser::text,
       c.state, c.node, c.recorded_at
FROM accountdb.conflict AS c
WHERE c.state = 'open' AND c.table_schema = %(schema)s AND c.table_name = %(table)s AND c.row_key = %(key)s
  AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)
ORDER BY c.recorded_at, c.id;

-- open_of_child --
-- Rows of a table that named a parent by one column when they lost.
SELECT c.id, c.kind, c.table_schema, c.table_name, c.row_key, c.rule, c.detail, c.winner::text, c.loser::text,
       c.state, c.node, c.recorded_at
FROM accountdb.conflict AS c
WHERE c.state = 'open' AND c.table_schema = %(schema)s AND c.table_name = %(table)s
  AND c.loser ->> %(column)s = %(parent)s
  AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)
ORDER BY c.recorded_at, c.id;

-- resolutions --
SELECT r.conflict_id, r.node, r.action, r.resolved_by, r.resolved_at
FROM accountdb.resolution AS r
WHERE r.conflict_id = ANY (%(ids)s)
ORDER BY r.resolved_at, r.node;

-- resolve --
INSERT INTO accountdb.resolution (conflict_id, action)
SELECT i.id, %(action)s FROM pg_catalog.unnest(%(ids)s::uuid[]) AS i (id)
ON CONFLICT DO NOTHING;

-- keep --
-- What a person's merge took away stays on record, whole.
SELECT accountdb.record_conflict('merged', %(schema)s, %(table)s, %(key)s, 'merge_accounts',
                                 %(winner)s::jsonb, %(loser)s::jsonb);

-- merging_into --
-- For the next delete of this transaction: the account that the deleted one was merged into.
SELECT pg_catalog.set_config('accountdb.merged_into', %(winner)s, true);

-- patience --
SELECT pg_catalog.set_config('lock_timeout', '5s', true);
