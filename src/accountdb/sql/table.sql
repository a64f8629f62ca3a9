Bringing one table of public under the row contract, and out of replication again.

-- add_created_at --
-- A constant first: rows that stand must come out the same in every region.
ALTER TABLE {table} ADD COLUMN created_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00';
ALTER TABLE {table} ALTER COLUMN created_at SET DEFAULT now();

-- add_updated_at --
ALTER TABLE {table} ADD COLUMN updated_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00';
ALTER TABLE {table} ALTER COLUMN updated_at SET DEFAULT now();

-- add_version --
ALTER TABLE {table} ADD COLUMN version bigint NOT NULL DEFAULT 0;

-- add_origin_node --
ALTER TABLE {table} ADD COLUMN origin_node text NOT NULL DEFAULT 'local';
ALTER TABLE {table} ALTER COLUMN origin_node SET DEFAULT accountdb.node_name();

-- add_trigger --
CREATE TRIGGER {trigger} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION public.{function}();

-- drop_guard --
DROP TRIGGER IF EXISTS accountdb_guard ON {table};
DROP TRIGGER IF EXISTS accountdb_apply ON {table};
DROP TRIGGER IF EXISTS accountdb_bury ON {table};
DROP TRIGGER IF EXISTS accountdb_revive ON {table};
DROP TRIGGER IF EXISTS accountdb_truncate ON {table};
DROP FUNCTION IF EXISTS {guard}();
DROP FUNCTION IF EXISTS {capture}();
