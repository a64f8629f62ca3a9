What hangs on objects of every kind, by the object's catalog, oid and column.

-- comments --
SELECT d.classoid::regclass::text, d.objoid::bigint, d.objsubid, d.description
  FROM pg_catalog.pg_description AS d
 -- What the server itself was built with is below; the schema public is there too.
 WHERE d.objoid >= 16384 OR d.classoid = 'pg_catalog.pg_namespace'::regclass

-- grants --
-- Privileges by grantee, with * behind those that it may pass on. What the owner may is left out: that is
-- everything, unless it took something from itself.
WITH named AS (
    SELECT n.oid, n.nspacl, n.nspowner
      FROM pg_catalog.pg_namespace AS n
     WHERE n.nspname = ANY (%(schemas)s::text[])
), granted AS (
    SELECT 'pg_namespace' AS catalog, n.oid, 0 AS part, n.nspowner AS owner, n.nspacl AS acl
      FROM named AS n
    UNION ALL
    SELECT 'pg_class', c.oid, 0, c.relowner, c.relacl
      FROM named AS n
      JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
     WHERE c.relacl IS NOT NULL
    UNION ALL
    SELECT 'pg_class', c.oid, a.attnum, c.relowner, a.attacl
      FROM named AS n
      JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
     WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT 'pg_proc', p.oid, 0, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
      FROM named AS n
      JOIN pg_catalog.pg_proc AS p ON p.pronamespace = n.oid
    UNION ALL
    SELECT 'pg_type', t.oid, 0, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
      FROM named AS n
      JOIN pg_catalog.pg_type AS t ON t.typnamespace = n.oid
     WHERE t.typtype IN ('c', 'd', 'e')
)
SELECT s.catalog, s.oid::bigint, s.part, s.grantee,
       string_agg(s.privilege || CASE WHEN s.grantable THEN '*' ELSE '' END, ', ' ORDER BY s.privilege COLLATE "C")
  FROM (SELECT g.catalog, g.oid, g.part, x.privilege_type AS privilege, bool_or(x.is_grantable) AS grantable,
               CASE x.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(x.grantee) END AS grantee
          FROM granted AS g
         CROSS JOIN LATERAL aclexplode(g.acl) AS x
         WHERE x.grantee <> g.owner
         GROUP BY g.catalog, g.oid, g.part, x.grantee, x.privilege_type) AS s
 GROUP BY s.catalog, s.oid, s.part, s.grantee
