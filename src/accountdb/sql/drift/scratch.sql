-- A database for one moment, beside the one that is looked at.

-- encoding --
-- The encoding of this database: the scratch one takes it, so that the same text is valid in both.
SELECT pg_catalog.getdatabaseencoding()

-- pglogical --
-- The version of pglogical on a server that has it loaded (its settings are then known to every session,
-- and an ordinary role may not read shared_preload_libraries); no row where it is not.
SELECT e.default_version
  FROM pg_catalog.pg_available_extensions AS e
 WHERE e.name = 'pglogical'
   AND pg_catalog.current_setting('pglogical.synchronous_commit', true) IS NOT NULL
