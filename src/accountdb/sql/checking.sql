What of a server decides whether two regions behave the same.

-- parameters --
-- As a new session of this role begins with them; what the role may not see is not among the rows.
-- Every session sees whether a preloaded pglogical is there by its settings; the list of libraries is for
-- superusers.
SELECT s.name, s.reset_val
  FROM pg_catalog.pg_settings AS s
 WHERE s.name = ANY (%(names)s::text[])
UNION ALL
SELECT 'shared_preload_libraries',
       CASE WHEN pg_catalog.current_setting('pglogical.synchronous_commit', true) IS NULL
            THEN 'without pglogical' ELSE 'with pglogical' END

-- locale --
-- Encoding and collation of this database; to_jsonb, because not every version has every column.
SELECT v.name, v.value
  FROM pg_catalog.pg_database AS d
 CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(d) AS fields) AS j
 CROSS JOIN LATERAL (VALUES
           ('server_encoding', pg_catalog.pg_encoding_to_char(d.encoding)::text),
           ('lc_collate', d.datcollate::text),
           ('lc_ctype', d.datctype::text),
           ('locale_provider', CASE j.fields ->> 'datlocprovider'
                                    WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END),
           ('locale', coalesce(j.fields ->> 'datlocale', j.fields ->> 'daticulocale')),
           ('collation_version', j.fields ->> 'datcollversion')) AS v (name, value)
 WHERE d.datname = pg_catalog.current_database() AND v.value IS NOT NULL
