Native logical replication (PostgreSQL 16 and later).

-- publication --
SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = %(name)s);

-- published --
SELECT t.schemaname, t.tablename FROM pg_catalog.pg_publication_tables AS t WHERE t.pubname = %(name)s;

-- short_tables --
-- Published tables of which a row filter or a column list leaves something out.
SELECT c.relname FROM pg_catalog.pg_publication_rel AS r
JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
WHERE p.pubname = %(name)s AND (r.prattrs IS NOT NULL OR r.prqual IS NOT NULL)
ORDER BY 1;

-- subscriptions --
-- Name, enabled, slot, whether a worker runs, whether it has heard its provider.
SELECT s.subname, s.subenabled, s.subslotname, a.pid IS NOT NULL, a.received_lsn IS NOT NULL
FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid AND d.datname = pg_catalog.current_database()
LEFT JOIN pg_catalog.pg_stat_subscription AS a
    ON a.subid = s.oid AND a.relid IS NULL
WHERE %(publication)s = ANY (s.subpublications)
ORDER BY 1;

-- connection --
SELECT s.subconninfo FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid AND d.datname = pg_catalog.current_database()
WHERE s.subname = %(name)s;

-- owner --
-- Who owns a subscription, and who asks.
SELECT pg_catalog.pg_get_userbyid(s.subowner), current_user
FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid AND d.datname = pg_catalog.current_database()
WHERE s.subname = %(name)s;

-- slot --
-- A slot is the server's, not the database's: another account database may hold the name.
SELECT s.plugin, s.active, s.database = pg_catalog.current_database()
FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = %(slot)s;

-- create_slot --
SELECT pg_catalog.pg_create_logical_replication_slot(%(slot)s, 'pgoutput');

-- drop_slot --
SELECT pg_catalog.pg_drop_replication_slot(s.slot_name) FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = %(slot)s AND NOT s.active;
