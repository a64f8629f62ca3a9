Beats of the last day, for the look at what a stream has passed over.

-- readable --
SELECT pg_catalog.to_regclass('accountdb.heartbeat') IS NOT NULL
   AND pg_catalog.has_table_privilege('accountdb.heartbeat', 'SELECT')
   AND pg_catalog.has_table_privilege('accountdb.last_run', 'SELECT');

-- arrived --
SELECT h.node, pg_catalog.array_agg(h.beat_at) FROM accountdb.heartbeat AS h
WHERE h.arrived_at IS NOT NULL AND h.beat_at > pg_catalog.clock_timestamp() - interval '24 hours' GROUP BY h.node;

-- sent --
SELECT pg_catalog.array_agg(h.beat_at) FROM accountdb.heartbeat AS h
WHERE h.node = %(node)s AND h.arrived_at IS NULL AND h.beat_at > pg_catalog.clock_timestamp() - interval '24 hours';

-- proved --
-- When the last merge that found this region and another equal began: what was written later it may not have seen.
SELECT pg_catalog.max(r.ended_at - pg_catalog.make_interval(secs => r.seconds)) FROM accountdb.last_run AS r
WHERE r.kind = 'merge' AND r.equal AND %(partner)s = ANY (pg_catalog.string_to_array(r.partners, ', '));
