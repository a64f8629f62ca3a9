-- A database for one moment, beside the one that is looked at.

-- encoding --
-- The encoding of this database: the scratch one takes it, so that the same text is valid in both.
SELECT pg_catalog.getdatabaseencoding()
