What a pass of a merge job asks of the target.

-- begin --
SELECT pg_catalog.clock_timestamp(), pg_catalog.set_config('lock_timeout', %(lock)s, true);

-- unstored --
-- Rows that came before and could not be stored: their parent may be here by now.
SELECT c.row_key::text FROM accountdb.conflict AS c
WHERE c.state = 'open' AND c.kind IN ('orphan', 'unknown', 'skipped') AND c.table_schema = %(schema)s AND c.table_name = %(table)s
  AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id);

-- released --
-- Rows that lost a unique value, by table.
SELECT c.table_schema, c.table_name, pg_catalog.count(*) FROM accountdb.conflict AS c
WHERE c.recorded_at >= %(since)s AND c.kind = 'unique_claim' GROUP BY 1, 2;
