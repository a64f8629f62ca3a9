A table that is filled whole gets its indexes afterwards.

-- deferrable --
-- Indexes that can be made again from their definition alone: no constraint, no replica identity, nothing set on them.
SELECT x.relname, pg_catalog.pg_get_indexdef(i.indexrelid), pg_catalog.obj_description(i.indexrelid, 'pg_class')
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
WHERE i.indrelid = pg_catalog.format('%%I.%%I', %(schema)s::text, %(table)s::text)::pg_catalog.regclass
  AND NOT i.indisprimary AND i.indisvalid AND i.indisready AND NOT i.indisreplident AND NOT i.indisclustered
  AND x.relkind = 'i' AND NOT x.relispartition AND x.reltablespace = 0
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.conindid = i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                  WHERE (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid AND d.deptype = 'e')
                     OR (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.indexrelid))
ORDER BY x.relname;

-- drop --
DROP INDEX {index};

-- comment --
COMMENT ON INDEX {index} IS {comment};
