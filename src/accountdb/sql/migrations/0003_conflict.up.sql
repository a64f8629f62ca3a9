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

-- Unique claims (first registration wins): whether the row made at a keeps a value against that of b.
-- Both fields never change. The same definition in Python: accountdb.contract.claims.
CREATE OR REPLACE FUNCTION accountdb.claim_wins(
    created_at_a timestamptz, uuid_a uuid, created_at_b timestamptz, uuid_b uuid
) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
AS $function$
    SELECT (created_at_a, uuid_a) < (created_at_b, uuid_b)
$function$;
COMMENT ON FUNCTION accountdb.claim_wins(timestamptz, uuid, timestamptz, uuid) IS
    'Unique claims: true when row a keeps the value against row b.';

-- What a text value becomes when its row must release it: value~ and the first 8 characters of the
-- uuid, within max_length characters (NULL: no limit); "whole" takes the whole uuid, for the case that
-- somebody holds the short form already.
CREATE OR REPLACE FUNCTION accountdb.released_value(
    value text, row_uuid uuid, max_length integer DEFAULT NULL, whole boolean DEFAULT false
) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
AS $function$
    SELECT left(coalesce(value, ''), greatest(coalesce(max_length, length(value) + 37) - length(s.suffix), 0)) || s.suffix
    FROM (SELECT '~' || CASE WHEN whole THEN row_uuid::text ELSE left(row_uuid::text, 8) END) AS s (suffix)
$function$;
COMMENT ON FUNCTION accountdb.released_value(text, uuid, integer, boolean) IS
    'Unique claims: what the loser of a text value holds instead.';

-- Deletes win and stay deleted. A tombstone names one life of a row: created_at tells it from a
-- later row with the same uuid. It is replicated, and written before its row is deleted, so that
-- the other region knows what the deleter had seen when the delete arrives.
CREATE TABLE IF NOT EXISTS accountdb.tombstone (
    row_key       uuid NOT NULL,
    table_schema  text NOT NULL,
    table_name    text NOT NULL,
    created_at    timestamptz NOT NULL,
    node          text NOT NULL DEFAULT accountdb.node_name(),
    version       bigint NOT NULL,
    updated_at    timestamptz NOT NULL,
    origin_node   text NOT NULL,
    winner        uuid,
    deleted_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (row_key, table_schema, table_name, created_at, node)
);
CREATE INDEX IF NOT EXISTS tombstone_deleted_at_idx ON accountdb.tombstone (deleted_at);
COMMENT ON TABLE accountdb.tombstone IS
    'Deleted rows, so that a late change does not bring one back. winner: the account it was merged into.';

-- Notes that a row died here. True when it was not noted by this node before.
CREATE OR REPLACE FUNCTION accountdb.bury(
    table_schema text, table_name text, row_key uuid, created_at timestamptz,
    version bigint, updated_at timestamptz, origin_node text
) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
BEGIN
    INSERT INTO accountdb.tombstone (row_key, table_schema, table_name, created_at, version, updated_at, origin_node, winner)
    VALUES (row_key, table_schema, table_name, created_at, version, updated_at, origin_node,
            nullif(current_setting('accountdb.merged_into', true), '')::uuid)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$function$;
REVOKE ALL ON FUNCTION accountdb.bury(text, text, uuid, timestamptz, bigint, timestamptz, text) FROM PUBLIC;
COMMENT ON FUNCTION accountdb.bury(text, text, uuid, timestamptz, bigint, timestamptz, text) IS
    'Writes the tombstone of one row.';

-- A local INSERT of a row that died before, under the same uuid and created_at (out of a backup,
-- say), begins a new life: without this the other region would hold it for the dead one.
CREATE OR REPLACE FUNCTION accountdb.revive() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
BEGIN
    IF EXISTS (SELECT FROM accountdb.tombstone AS t
               WHERE t.row_key = NEW.uuid AND t.table_schema = TG_TABLE_SCHEMA AND t.table_name = TG_TABLE_NAME
                 AND t.created_at = NEW.created_at) THEN
        NEW.created_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION accountdb.revive() IS 'Guarded tables: a row inserted again after its delete begins a new life.';

-- TRUNCATE is not replicated: the regions would differ from then on.
CREATE OR REPLACE FUNCTION accountdb.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $function$
BEGIN
    IF current_setting('accountdb.allow_truncate', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'TRUNCATE of the replicated table %.% would make the regions differ', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'use DELETE, which is replicated, or SET accountdb.allow_truncate = on and do the same in every region';
END
$function$;
COMMENT ON FUNCTION accountdb.refuse_truncate() IS 'Guarded tables: refuses TRUNCATE unless accountdb.allow_truncate is on.';

CREATE TABLE IF NOT EXISTS accountdb.conflict (
    id            uuid PRIMARY KEY,
    kind          text NOT NULL,
    table_schema  text NOT NULL,
    table_name    text NOT NULL,
    row_key       uuid NOT NULL,
    rule          text NOT NULL,
    detail        text,
    winner        jsonb,
    loser         jsonb,
    state         text NOT NULL DEFAULT 'settled' CHECK (state IN ('open', 'settled')),
    node          text NOT NULL DEFAULT accountdb.node_name(),
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS conflict_recorded_at_idx ON accountdb.conflict (recorded_at);
CREATE INDEX IF NOT EXISTS conflict_open_idx ON accountdb.conflict (recorded_at) WHERE state = 'open';
COMMENT ON TABLE accountdb.conflict IS
    'Every change that lost, with both rows whole. It holds secrets: only the owner reads it.';

-- How a person settled an open conflict. Replicated: a resolution closes it in every region.
CREATE TABLE IF NOT EXISTS accountdb.resolution (
    conflict_id  uuid NOT NULL,
    node         text NOT NULL DEFAULT accountdb.node_name(),
    action       text NOT NULL,
    resolved_by  text NOT NULL DEFAULT session_user,
    resolved_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (conflict_id, node)
);
COMMENT ON TABLE accountdb.resolution IS 'Conflicts that a person has settled, and how.';

-- The id is made from the losing copy, or from what else identifies the event, so that both regions
-- give one conflict one id, and a change that is applied twice is recorded once. Rows come from
-- accountdb.row_content().
-- SECURITY DEFINER: guards run as the owner of their table, who need not own this schema.
CREATE OR REPLACE FUNCTION accountdb.record_conflict(
    kind text, table_schema text, table_name text, row_key uuid, rule text,
    winner jsonb, loser jsonb, state text DEFAULT 'settled', detail text DEFAULT NULL, identity jsonb DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
DECLARE
    event_id uuid := md5(jsonb_build_array(
        kind, table_schema, table_name, row_key, rule, coalesce(identity, loser))::text)::uuid;
BEGIN
    INSERT INTO accountdb.conflict (id, kind, table_schema, table_name, row_key, rule, winner, loser, state, detail)
    VALUES (event_id, kind, table_schema, table_name, row_key, rule, winner, loser, state, detail)
    ON CONFLICT DO NOTHING;
    RETURN event_id;
END
$function$;
REVOKE ALL ON FUNCTION accountdb.record_conflict(text, text, text, uuid, text, jsonb, jsonb, text, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION accountdb.record_conflict(text, text, text, uuid, text, jsonb, jsonb, text, text, jsonb) IS
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
