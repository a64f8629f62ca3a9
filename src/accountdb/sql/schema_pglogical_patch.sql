-- Brings account tables of an older schema under the row contract, so that they can be replicated:
-- the columns version and origin_node, their defaults, and the triggers that keep them.
--
--     psql "$DB_URL" -v ON_ERROR_STOP=1 -f schema_pglogical_patch.sql
--
-- Needs the owner of the tables and schema.sql. A column that stands keeps its values; running it
-- again changes no row. A table that is not there is passed over.

-- patch --
DO $patch$
DECLARE
    account_table text;
BEGIN
    FOREACH account_table IN ARRAY ARRAY['users', 'identities', 'sessions', 'admin_settings', 'subscriptions'] LOOP
        CONTINUE WHEN to_regclass(format('public.%I', account_table)) IS NULL;
        PERFORM FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = to_regclass(format('public.%I', account_table))
          AND a.attname = 'version' AND a.attnotnull AND NOT a.attisdropped;
        IF NOT FOUND THEN
            EXECUTE format('ALTER TABLE public.%I ADD COLUMN IF NOT EXISTS version bigint NOT NULL DEFAULT 0', account_table);
        END IF;
        PERFORM FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = to_regclass(format('public.%I', account_table))
          AND a.attname = 'origin_node' AND a.attnotnull AND NOT a.attisdropped;
        IF NOT FOUND THEN
            -- A constant first: rows that stand were written before there was a node.
            EXECUTE format('ALTER TABLE public.%I ADD COLUMN IF NOT EXISTS origin_node text NOT NULL DEFAULT ''local''', account_table);
        END IF;
        PERFORM FROM pg_catalog.pg_attrdef AS d
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE d.adrelid = to_regclass(format('public.%I', account_table)) AND a.attname = 'origin_node'
          AND pg_get_expr(d.adbin, d.adrelid) = 'accountdb.node_name()';
        IF NOT FOUND THEN
            EXECUTE format('ALTER TABLE public.%I ALTER COLUMN origin_node SET DEFAULT accountdb.node_name()', account_table);
        END IF;
        PERFORM FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = to_regclass(format('public.%I', account_table))
          AND t.tgname = format('trg_%s_set_updated_at', account_table);
        IF NOT FOUND THEN
            EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON public.%I FOR EACH ROW EXECUTE FUNCTION public.set_updated_at()',
                format('trg_%s_set_updated_at', account_table), account_table);
        END IF;
        PERFORM FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = to_regclass(format('public.%I', account_table))
          AND t.tgname = format('trg_%s_bump_version', account_table);
        IF NOT FOUND THEN
            EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON public.%I FOR EACH ROW EXECUTE FUNCTION public.bump_version()',
                format('trg_%s_bump_version', account_table), account_table);
        END IF;
    END LOOP;
END
$patch$;
