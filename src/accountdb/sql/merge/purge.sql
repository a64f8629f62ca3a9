Tombstones and settled conflicts that are old enough to go.

-- count --
SELECT (SELECT pg_catalog.count(*) FROM accountdb.tombstone AS t
        WHERE t.deleted_at < pg_catalog.clock_timestamp() - %(days)s * interval '1 day'),
       (SELECT pg_catalog.count(*) FROM accountdb.conflict AS c
        WHERE c.recorded_at < pg_catalog.clock_timestamp() - %(days)s * interval '1 day'
          AND (c.state = 'settled' OR EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)));

-- tombstones --
DELETE FROM accountdb.tombstone AS t
WHERE t.deleted_at < pg_catalog.clock_timestamp() - %(days)s * interval '1 day';

-- conflicts --
DELETE FROM accountdb.conflict AS c
WHERE c.recorded_at < pg_catalog.clock_timestamp() - %(days)s * interval '1 day'
  AND (c.state = 'settled' OR EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id));
