Grants and facts for init.

-- role_exists --
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = %(role)s);

-- pglogical_rights --
-- Whether the schema pglogical is closed to everybody but superusers and the named role.
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pglogical');

-- missing_grants --
-- Tables on which the role lacks one of the four rights.
SELECT t.name
FROM pg_catalog.unnest(%(tables)s::text[]) WITH ORDINALITY AS t (name, position)
WHERE NOT (pg_catalog.has_table_privilege(%(role)s, pg_catalog.format('public.%%I', t.name), 'SELECT')
       AND pg_catalog.has_table_privilege(%(role)s, pg_catalog.format('public.%%I', t.name), 'INSERT')
       AND pg_catalog.has_table_privilege(%(role)s, pg_catalog.format('public.%%I', t.name), 'UPDATE')
       AND pg_catalog.has_table_privilege(%(role)s, pg_catalog.format('public.%%I', t.name), 'DELETE'))
ORDER BY t.position;

-- grants --
-- What other roles than the owner may do with the account tables, as statements that grant it again.
SELECT pg_catalog.format('GRANT %s ON %I.%I TO %s%s', a.privilege_type, n.nspname, c.relname,
           CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.grantee <> c.relowner
  AND c.relname IN ('users', 'identities', 'sessions', 'admin_settings', 'subscriptions')
ORDER BY 1;

-- may_note --
SELECT pg_catalog.to_regclass('accountdb.last_run') IS NOT NULL
   AND pg_catalog.has_table_privilege('accountdb.last_run', 'INSERT') AND pg_catalog.has_table_privilege('accountdb.last_run', 'UPDATE');

-- note_run --
INSERT INTO accountdb.last_run AS l (kind, partners, seconds, equal, written)
VALUES (%(kind)s, %(partners)s, %(seconds)s, %(equal)s, %(written)s)
ON CONFLICT (kind, partners) DO UPDATE
SET ended_at = pg_catalog.clock_timestamp(), seconds = excluded.seconds, equal = excluded.equal, written = excluded.written;
