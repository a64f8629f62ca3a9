-- What follows a sequence that is new to a column with values.

-- continued --
SELECT pg_catalog.setval({sequence}, pg_catalog.max({column})::bigint) FROM {table} HAVING pg_catalog.max({column}) > 0
