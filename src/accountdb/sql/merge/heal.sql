The healing pass: rows that a conflict or a tombstone names.

-- named --
-- Both rows of each conflict, and dead rows; within the last seconds, or still open.
SELECT c.table_schema, c.table_name, k.row_key::text
FROM accountdb.conflict AS c
CROSS JOIN LATERAL (VALUES (c.row_key), ((c.winner ->> 'uuid')::uuid)) AS k (row_key)
WHERE k.row_key IS NOT NULL
  AND (c.recorded_at > pg_catalog.clock_timestamp() - %(seconds)s * interval '1 second'
       OR c.state = 'open' AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id))
UNION
SELECT t.table_schema, t.table_name, t.row_key::text
FROM accountdb.tombstone AS t
WHERE t.deleted_at > pg_catalog.clock_timestamp() - %(seconds)s * interval '1 second';
