-- The ledger stays: it says that nothing is applied.
DROP FUNCTION IF EXISTS public.bump_version();
DROP FUNCTION IF EXISTS public.set_updated_at();
DROP FUNCTION IF EXISTS accountdb.node_name();
DROP TABLE IF EXISTS accountdb.node;
