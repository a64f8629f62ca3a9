-- The ledger stays: it says that nothing is applied. So does the node: which region this is does not
-- depend on its tables.
DROP FUNCTION IF EXISTS public.bump_version();
DROP FUNCTION IF EXISTS public.set_updated_at();
DROP FUNCTION IF EXISTS accountdb.node_name();
