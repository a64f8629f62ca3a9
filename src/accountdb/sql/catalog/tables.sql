What accountdb needs to know of tables, read from the catalog.

-- columns --
-- One row a column of every ordinary or partitioned table in the schema.
SELECT c.relname, pg_catalog.pg_get_userbyid(c.relowner),
       a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attgenerated::text, a.attidentity::text,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid),
       EXISTS (SELECT FROM pg_catalog.pg_depend AS p
               JOIN pg_catalog.pg_class AS s ON s.oid = p.refobjid AND s.relkind = 'S'
               WHERE p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid
                 AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relpersistence <> 't'
ORDER BY c.relname, a.attnum;

-- primary_keys --
SELECT c.relname, array_agg(a.attname::text ORDER BY k.position)
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE i.indisprimary AND n.nspname = %(schema)s
GROUP BY c.relname;

-- row_triggers --
-- BEFORE UPDATE row triggers: table, trigger, function, mode.
SELECT c.relname, t.tgname, p.proname, t.tgenabled::text
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE n.nspname = %(schema)s AND NOT t.tgisinternal
  AND t.tgtype & 1 = 1 AND t.tgtype & 2 = 2 AND t.tgtype & 16 = 16
ORDER BY 1, 2;

-- generated --
-- What each generated column is made of: table, column, base columns.
SELECT c.relname, g.attname, array_agg(b.attname::text ORDER BY b.attnum) FILTER (WHERE b.attname IS NOT NULL)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS g ON g.attrelid = c.oid AND g.attgenerated <> '' AND NOT g.attisdropped
JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = g.attnum
LEFT JOIN pg_catalog.pg_depend AS p
    ON p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid
   AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.refobjid = c.oid
   AND p.refobjsubid NOT IN (0, g.attnum)
LEFT JOIN pg_catalog.pg_attribute AS b ON b.attrelid = c.oid AND b.attnum = p.refobjsubid
WHERE n.nspname = %(schema)s
GROUP BY c.relname, g.attname;
