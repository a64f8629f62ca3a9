What accountdb needs to know of tables, read from the catalog.

-- columns --
-- One row a column of every ordinary or partitioned table in the schema.
SELECT c.relname, pg_catalog.pg_get_userbyid(c.relowner),
       a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull OR y.typnotnull,
       a.attgenerated::text, a.attidentity::text,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid),
       EXISTS (SELECT FROM pg_catalog.pg_depend AS p
               JOIN pg_catalog.pg_class AS s ON s.oid = p.refobjid AND s.relkind = 'S'
               WHERE p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid
                 AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass),
       CASE WHEN y.typtype = 'd' THEN pg_catalog.format_type(y.typbasetype, y.typtypmod) END
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relpersistence <> 't'
ORDER BY c.relname, a.attnum;

-- primary_keys --
-- Without the columns that an index only includes.
SELECT c.relname, array_agg(a.attname::text ORDER BY k.position)
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE i.indisprimary AND k.position <= i.indnkeyatts AND n.nspname = %(schema)s
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

-- unique_indexes --
-- Every unique index but the primary key: its key expressions with their equality operators, its
-- predicate, the columns that it is made of, NULLS NOT DISTINCT, its comment. Invalid ones too: they
-- refuse writes already. Expressions are qualified when search_path is pg_catalog.
SELECT c.relname, x.relname,
       -- With the collation that the index has of its own: without it the index would not serve.
       (SELECT array_agg(
            CASE WHEN cl.oid IS NULL THEN pg_catalog.pg_get_indexdef(i.indexrelid, k.n, false)
                 ELSE pg_catalog.format('(%%s) COLLATE %%I.%%I', pg_catalog.pg_get_indexdef(i.indexrelid, k.n, false),
                                        cn.nspname, cl.collname) END ORDER BY k.n)
        FROM pg_catalog.generate_series(1, i.indnkeyatts) AS k (n)
        LEFT JOIN pg_catalog.pg_collation AS cl
            ON cl.oid = i.indcollation[k.n - 1] AND cl.oid <> 'pg_catalog."default"'::pg_catalog.regcollation
        LEFT JOIN pg_catalog.pg_namespace AS cn ON cn.oid = cl.collnamespace),
       (SELECT array_agg(o.oprname::text ORDER BY k.n)
        FROM pg_catalog.generate_series(1, i.indnkeyatts) AS k (n)
        JOIN pg_catalog.pg_opclass AS oc ON oc.oid = i.indclass[k.n - 1]
        JOIN pg_catalog.pg_amop AS ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
             AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
        JOIN pg_catalog.pg_operator AS o ON o.oid = ao.amopopr),
       (SELECT array_agg(os.nspname::text ORDER BY k.n)
        FROM pg_catalog.generate_series(1, i.indnkeyatts) AS k (n)
        JOIN pg_catalog.pg_opclass AS oc ON oc.oid = i.indclass[k.n - 1]
        JOIN pg_catalog.pg_amop AS ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
             AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
        JOIN pg_catalog.pg_operator AS o ON o.oid = ao.amopopr
        JOIN pg_catalog.pg_namespace AS os ON os.oid = o.oprnamespace),
       pg_catalog.pg_get_expr(i.indpred, i.indrelid),
       (SELECT array_agg(DISTINCT a.attname::text ORDER BY a.attname::text)
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND (
              a.attnum = ANY (i.indkey::int2[])
              OR EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
                           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                           AND d.refobjid = c.oid AND d.refobjsubid = a.attnum))),
       coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       pg_catalog.obj_description(i.indexrelid, 'pg_class'), i.indimmediate
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND i.indisunique AND NOT i.indisprimary AND c.relkind IN ('r', 'p')
ORDER BY 1, 2;

-- references --
-- Foreign keys that start or end at a table of the schema: child and parent with their columns,
-- and what a delete of the parent does: a no action, r restrict, c cascade, n set null, d set default.
SELECT k.conname, cn.nspname, c.relname,
       (SELECT array_agg(a.attname::text ORDER BY u.position)
        FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, position)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.attnum),
       pn.nspname, p.relname,
       (SELECT array_agg(a.attname::text ORDER BY u.position)
        FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, position)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.attnum),
       k.confdeltype::text,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum)
        FROM pg_catalog.jsonb_array_elements_text(nullif(pg_catalog.to_jsonb(k) -> 'confdelsetcols', 'null')) AS s (attnum)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = s.attnum::int),
       (SELECT array_agg(os.nspname::text ORDER BY u.position)
        FROM unnest(k.conpfeqop) WITH ORDINALITY AS u (operator, position)
        JOIN pg_catalog.pg_operator AS o ON o.oid = u.operator
        JOIN pg_catalog.pg_namespace AS os ON os.oid = o.oprnamespace),
       (SELECT array_agg(o.oprname::text ORDER BY u.position)
        FROM unnest(k.conpfeqop) WITH ORDINALITY AS u (operator, position)
        JOIN pg_catalog.pg_operator AS o ON o.oid = u.operator),
       k.condeferrable
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class AS p ON p.oid = k.confrelid
JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND %(schema)s IN (cn.nspname, pn.nspname)
ORDER BY 2, 3, 1;

-- checked_columns --
-- Columns of CHECK and EXCLUDE constraints: table, columns.
SELECT c.relname, array_agg(DISTINCT a.attname::text ORDER BY a.attname::text)
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (k.conkey)
WHERE n.nspname = %(schema)s AND k.contype IN ('c', 'x')
GROUP BY c.relname;

-- secrets --
-- Columns that are declared secret by their comment.
SELECT n.nspname, c.relname, a.attname
FROM pg_catalog.pg_description AS d
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND NOT a.attisdropped
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid > 0
  AND pg_catalog.strpos(d.description, 'accountdb: secret') > 0
ORDER BY 1, 2, 3;
