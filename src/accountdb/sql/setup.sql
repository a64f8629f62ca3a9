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
