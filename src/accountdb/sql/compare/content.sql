The content of a whole table as one number, for the same table on servers of one major version.

-- content --
SELECT pg_catalog.count(*), coalesce(pg_catalog.bit_xor(pg_catalog.hash_record_extended(t, 0)), 0)
FROM {table} AS t
