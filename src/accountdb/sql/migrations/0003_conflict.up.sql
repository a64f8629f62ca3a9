-- What guards and merges share: the row order, and the record of what they settled.

-- The content of one row, the same text in every region whatever its session settings and its
-- major version. "without" names the generated columns: a BEFORE trigger does not see them yet.
CREATE OR REPLACE FUNCTION accountdb.row_content(content anyelement, without text[] DEFAULT '{}') RETURNS jsonb
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog
    SET "TimeZone" = 'UTC'
    SET "DateStyle" = 'ISO, YMD'
    SET "IntervalStyle" = 'iso_8601'
    SET extra_float_digits = 1
    SET bytea_output = 'hex'
AS $function$
BEGIN
    RETURN to_jsonb(content) - without;
END
$function$;
COMMENT ON FUNCTION accountdb.row_content(anyelement, text[]) IS
    'A row as JSON, equal in every region that holds the same row.';

-- The row order: whether copy a of a row wins over copy b. Total, so that every region picks
-- the same winner. The same definition in Python: accountdb.contract.row_order.
CREATE OR REPLACE FUNCTION accountdb.row_wins(
    version_a bigint, updated_at_a timestamptz, origin_node_a text, content_hash_a text,
    version_b bigint, updated_at_b timestamptz, origin_node_b text, content_hash_b text
) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
AS $function$
    SELECT (version_a, updated_at_a, origin_node_a COLLATE "C", content_hash_a COLLATE "C")
         > (version_b, updated_at_b, origin_node_b COLLATE "C", content_hash_b COLLATE "C")
$function$;
COMMENT ON FUNCTION accountdb.row_wins(bigint, timestamptz, text, text, bigint, timestamptz, text, text) IS
    'The row order: true when copy a wins over copy b.';

CREATE TABLE IF NOT EXISTS accountdb.conflict (
    id            uuid PRIMARY KEY,
    kind          text NOT NULL,
    table_schema  text NOT NULL,
    table_name    text NOT NULL,
    row_key       jsonb NOT NULL,
    rule          text NOT NULL,
    winner        jsonb,
    loser         jsonb,
    state         text NOT NULL DEFAULT 'settled' CHECK (state IN ('open', 'settled')),
    node          text NOT NULL DEFAULT accountdb.node_name(),
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS conflict_state_recorded_at_idx ON accountdb.conflict (state, recorded_at);
COMMENT ON TABLE accountdb.conflict IS
    'Every change that lost, with both rows whole. It holds secrets: only the owner reads it.';

-- The id is made from the losing copy, so that both regions give the same conflict the same id
-- and a change that is applied twice is recorded once. Rows come from accountdb.row_content(). SECURITY DEFINER: guards run as the owner of
-- their table, who need not own this schema.
CREATE OR REPLACE FUNCTION accountdb.record_conflict(
    kind text, table_schema text, table_name text, row_key jsonb, rule text,
    winner jsonb, loser jsonb, state text DEFAULT 'settled'
) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
DECLARE
    event_id uuid := md5(jsonb_build_array(kind, table_schema, table_name, row_key, loser)::text)::uuid;
BEGIN
    INSERT INTO accountdb.conflict AS c (id, kind, table_schema, table_name, row_key, rule, winner, loser, state)
    VALUES (event_id, kind, table_schema, table_name, row_key, rule, winner, loser, state)
    ON CONFLICT DO NOTHING;
    RETURN event_id;
END
$function$;
REVOKE ALL ON FUNCTION accountdb.record_conflict(text, text, text, jsonb, text, jsonb, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION accountdb.record_conflict(text, text, text, jsonb, text, jsonb, jsonb, text) IS
    'Records a change that lost. Returns its id.';

-- A subscription whose provider has not joined yet; the provider's own join makes it.
CREATE TABLE IF NOT EXISTS accountdb.pending_subscription (
    name          text PRIMARY KEY,
    mode          text NOT NULL CHECK (mode IN ('pglogical', 'native')),
    requested_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE accountdb.pending_subscription IS
    'Subscriptions that wait until their provider joins. No connection string is kept here.';
GRANT SELECT ON accountdb.pending_subscription TO PUBLIC;
