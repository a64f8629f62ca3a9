-- accountdb: the whole schema at its newest version. It equals all files in migrations/, which a
-- test proves. It can be run again on a full database: it changes no row and drops nothing.
--
--     psql "$DB_URL" -v ON_ERROR_STOP=1 -f schema.sql
--
-- "already exists, skipping" is what a second run has to say, so it is kept quiet.
SET client_min_messages = warning;

-- The row contract: what keeps created_at, updated_at, version and origin_node of every
-- replicated table, and the name of the node that this database is.

CREATE SCHEMA IF NOT EXISTS accountdb;
COMMENT ON SCHEMA accountdb IS 'accountdb: row contract, guards, conflicts. Business tables live in public.';
-- Every writer calls accountdb.node_name() through its triggers. USAGE shows names, never rows.
GRANT USAGE ON SCHEMA accountdb TO PUBLIC;

CREATE TABLE IF NOT EXISTS accountdb.migration (
    version     integer PRIMARY KEY CHECK (version > 0),
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by  text NOT NULL DEFAULT current_user,
    seconds     double precision NOT NULL
);
COMMENT ON TABLE accountdb.migration IS 'Which migration files were applied here: checksum, who, when, how long.';

CREATE TABLE IF NOT EXISTS accountdb.node (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    name        text CHECK (name <> ''),
    mode        text NOT NULL DEFAULT 'pgsync' CHECK (mode IN ('pgsync', 'pglogical', 'native'))
);
COMMENT ON TABLE accountdb.node IS 'The node name of this region, once it has one, and its replication mode: at most one row.';
GRANT SELECT ON accountdb.node TO PUBLIC;

-- Stable within a statement: it is the default of origin_node and is called for each local write.
CREATE OR REPLACE FUNCTION accountdb.node_name() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog
AS $function$
BEGIN
    RETURN coalesce(
        nullif(current_setting('pglogical.node_name', true), ''),
        (SELECT n.name FROM accountdb.node AS n),
        'local'
    );
END
$function$;
COMMENT ON FUNCTION accountdb.node_name() IS
    'The node name: the setting pglogical.node_name, else accountdb.node, else local.';

-- Both triggers are ORIGIN triggers, so what a replication worker applies keeps its values. A
-- synced change, which an ordinary role applies, keeps them by the setting accountdb.apply = on,
-- made with SET LOCAL in the transaction that applies.
CREATE OR REPLACE FUNCTION public.set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $function$
BEGIN
    IF current_setting('accountdb.apply', true) = 'on' THEN
        RETURN NEW;
    END IF;
    NEW.created_at := OLD.created_at;
    -- Never backwards, whatever the clock does: the row order compares it.
    NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION public.set_updated_at() IS
    'Row contract: a local UPDATE moves updated_at forward and keeps created_at.';

CREATE OR REPLACE FUNCTION public.bump_version() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $function$
BEGIN
    IF current_setting('accountdb.apply', true) = 'on' THEN
        RETURN NEW;
    END IF;
    NEW.uuid := OLD.uuid;
    NEW.version := OLD.version + 1;
    NEW.origin_node := accountdb.node_name();
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION public.bump_version() IS
    'Row contract: a local UPDATE raises version by one, names this node, keeps uuid.';

-- The account tables, each under the row contract.

CREATE TABLE IF NOT EXISTS public.users (
    uuid                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    username              text NOT NULL,
    password              text NOT NULL,
    email                 text,
    role                  text NOT NULL DEFAULT 'user',
    level                 integer NOT NULL DEFAULT 20,
    groups                jsonb NOT NULL DEFAULT '[]'::jsonb,
    permissions           jsonb NOT NULL DEFAULT '[]'::jsonb,
    mfa_totp_secret       text,
    mfa_enabled           boolean NOT NULL DEFAULT false,
    mfa_secret_issued_at  timestamptz,
    mfa_confirmed_at      timestamptz,
    email_verified_at     timestamptz,
    email_verified        boolean GENERATED ALWAYS AS (email_verified_at IS NOT NULL) STORED,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    version               bigint NOT NULL DEFAULT 0,
    origin_node           text NOT NULL DEFAULT accountdb.node_name()
);
CREATE UNIQUE INDEX IF NOT EXISTS users_username_lower_uk ON public.users (lower(username));
CREATE UNIQUE INDEX IF NOT EXISTS users_email_lower_uk ON public.users (lower(email)) WHERE email IS NOT NULL;

CREATE TABLE IF NOT EXISTS public.identities (
    uuid         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    provider     text NOT NULL,
    external_id  text NOT NULL,
    user_uuid    uuid NOT NULL REFERENCES public.users (uuid) ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    version      bigint NOT NULL DEFAULT 0,
    origin_node  text NOT NULL DEFAULT accountdb.node_name()
);
CREATE UNIQUE INDEX IF NOT EXISTS identities_provider_external_id_uk
    ON public.identities (provider, external_id);
CREATE INDEX IF NOT EXISTS identities_user_uuid_idx ON public.identities (user_uuid);

CREATE TABLE IF NOT EXISTS public.sessions (
    uuid         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    token        text NOT NULL,
    expires_at   timestamptz NOT NULL,
    user_uuid    uuid NOT NULL REFERENCES public.users (uuid) ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    version      bigint NOT NULL DEFAULT 0,
    origin_node  text NOT NULL DEFAULT accountdb.node_name()
);
CREATE UNIQUE INDEX IF NOT EXISTS sessions_token_uk ON public.sessions (token);
CREATE INDEX IF NOT EXISTS sessions_user_uuid_idx ON public.sessions (user_uuid);

CREATE TABLE IF NOT EXISTS public.admin_settings (
    uuid         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    module_key   text NOT NULL,
    role         text NOT NULL,
    enabled      boolean NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    version      bigint NOT NULL DEFAULT 0,
    origin_node  text NOT NULL DEFAULT accountdb.node_name()
);
CREATE UNIQUE INDEX IF NOT EXISTS admin_settings_module_key_role_uk
    ON public.admin_settings (module_key, role);

CREATE TABLE IF NOT EXISTS public.subscriptions (
    uuid            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_uuid       uuid NOT NULL REFERENCES public.users (uuid) ON DELETE CASCADE,
    provider        text NOT NULL,
    payment_method  text NOT NULL,
    kind            text NOT NULL DEFAULT 'subscription',
    plan_id         text,
    external_id     text NOT NULL,
    status          text NOT NULL DEFAULT 'active',
    payment_qr      text,
    meta            jsonb NOT NULL DEFAULT '{}'::jsonb,
    cancelled_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    version         bigint NOT NULL DEFAULT 0,
    origin_node     text NOT NULL DEFAULT accountdb.node_name()
);
CREATE UNIQUE INDEX IF NOT EXISTS subscriptions_user_uuid_external_id_uk
    ON public.subscriptions (user_uuid, external_id);

CREATE OR REPLACE TRIGGER trg_users_set_updated_at BEFORE UPDATE ON public.users
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE OR REPLACE TRIGGER trg_users_bump_version BEFORE UPDATE ON public.users
    FOR EACH ROW EXECUTE FUNCTION public.bump_version();
CREATE OR REPLACE TRIGGER trg_identities_set_updated_at BEFORE UPDATE ON public.identities
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE OR REPLACE TRIGGER trg_identities_bump_version BEFORE UPDATE ON public.identities
    FOR EACH ROW EXECUTE FUNCTION public.bump_version();
CREATE OR REPLACE TRIGGER trg_sessions_set_updated_at BEFORE UPDATE ON public.sessions
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE OR REPLACE TRIGGER trg_sessions_bump_version BEFORE UPDATE ON public.sessions
    FOR EACH ROW EXECUTE FUNCTION public.bump_version();
CREATE OR REPLACE TRIGGER trg_admin_settings_set_updated_at BEFORE UPDATE ON public.admin_settings
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE OR REPLACE TRIGGER trg_admin_settings_bump_version BEFORE UPDATE ON public.admin_settings
    FOR EACH ROW EXECUTE FUNCTION public.bump_version();
CREATE OR REPLACE TRIGGER trg_subscriptions_set_updated_at BEFORE UPDATE ON public.subscriptions
    FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE OR REPLACE TRIGGER trg_subscriptions_bump_version BEFORE UPDATE ON public.subscriptions
    FOR EACH ROW EXECUTE FUNCTION public.bump_version();

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

-- The ledger: which files are applied now (migration), all that ever was done (migration_log), and how far
-- a file has come that runs statement by statement (migration_progress). The runner makes sure of it before
-- its first step, at whatever version a region stands.
CREATE SCHEMA IF NOT EXISTS accountdb;

CREATE TABLE IF NOT EXISTS accountdb.migration (
    version     integer PRIMARY KEY CHECK (version > 0),
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by  text NOT NULL DEFAULT current_user,
    seconds     double precision NOT NULL
);
COMMENT ON TABLE accountdb.migration IS 'Which migration files were applied here: checksum, who, when, how long.';

-- Every series of files counts for itself: accountdb's own, and those of the operator's folder.
DO $ledger$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                   WHERE a.attrelid = 'accountdb.migration'::regclass AND a.attname = 'series' AND NOT a.attisdropped) THEN
        ALTER TABLE accountdb.migration ADD COLUMN series text NOT NULL DEFAULT 'accountdb';
        ALTER TABLE accountdb.migration ALTER COLUMN version TYPE bigint;
        ALTER TABLE accountdb.migration DROP CONSTRAINT migration_pkey;
        ALTER TABLE accountdb.migration ADD CONSTRAINT migration_pkey PRIMARY KEY (series, version);
    END IF;
END
$ledger$;

-- One line a step, never changed. A run is what was committed together; regions is in how many: so the next
-- run can tell a region in which the commit did not come through from one that was left behind.
CREATE TABLE IF NOT EXISTS accountdb.migration_log (
    run                 uuid NOT NULL,
    position            integer NOT NULL,
    series              text NOT NULL,
    version             bigint NOT NULL,
    name                text NOT NULL,
    direction           text NOT NULL CHECK (direction IN ('up', 'down', 'adopted')),
    checksum            text NOT NULL,
    regions             integer NOT NULL,
    logged_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    logged_by           text NOT NULL DEFAULT session_user,
    seconds             double precision NOT NULL,
    fingerprint_before  text,
    fingerprint_after   text,
    PRIMARY KEY (run, position)
);
COMMENT ON TABLE accountdb.migration_log IS
    'All that migrations ever did here: file, checksum, who, when, how long, the structure before and after.';

CREATE TABLE IF NOT EXISTS accountdb.migration_progress (
    series      text NOT NULL,
    version     bigint NOT NULL,
    direction   text NOT NULL CHECK (direction IN ('up', 'down')),
    checksum    text NOT NULL,
    begun       integer NOT NULL,
    done        integer NOT NULL,
    PRIMARY KEY (series, version, direction)
);
COMMENT ON TABLE accountdb.migration_progress IS
    'Files that run statement by statement and are not through: the last statement begun, and the last one done.';

-- What operating needs: beats that measure how far behind a stream is, what ran last, and numbers that a
-- role may read that must not see a row.

-- One line a beat of each region, replicated as it is written. The time between a beat and its arrival is the lag of the
-- stream in seconds, also when nothing else is written. Both times are of the clocks of their regions.
CREATE TABLE IF NOT EXISTS accountdb.heartbeat (
    node        text NOT NULL,
    beat_at     timestamptz NOT NULL,
    arrived_at  timestamptz,
    PRIMARY KEY (node, beat_at)
);
COMMENT ON TABLE accountdb.heartbeat IS
    'Beats of every region. arrived_at: when a beat of another region was applied here. Kept for 25 hours.';

-- A beat that comes again, after a crash or a resync, is passed over: it must not stop a stream.
CREATE OR REPLACE FUNCTION accountdb.beat_arrives() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
BEGIN
    IF EXISTS (SELECT FROM accountdb.heartbeat AS h WHERE h.node = NEW.node AND h.beat_at = NEW.beat_at) THEN
        RETURN NULL;
    END IF;
    NEW.arrived_at := clock_timestamp();
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION accountdb.beat_arrives() IS 'Notes when a beat of another region is applied.';
CREATE OR REPLACE TRIGGER beat_arrives BEFORE INSERT ON accountdb.heartbeat
    FOR EACH ROW EXECUTE FUNCTION accountdb.beat_arrives();
ALTER TABLE accountdb.heartbeat ENABLE REPLICA TRIGGER beat_arrives;

-- Several programs may watch one region: a beat within a gap of the last one is not made again.
CREATE OR REPLACE FUNCTION accountdb.beat(gap interval DEFAULT '5 seconds') RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
DECLARE
    here text := accountdb.node_name();
    last timestamptz := (SELECT max(h.beat_at) FROM accountdb.heartbeat AS h WHERE h.node = here);
BEGIN
    -- A clock that was put back must not silence the beats until it has caught up.
    IF last > clock_timestamp() - gap AND last <= clock_timestamp() THEN
        RETURN last;
    END IF;
    INSERT INTO accountdb.heartbeat (node, beat_at) VALUES (here, clock_timestamp())
    ON CONFLICT DO NOTHING
    RETURNING beat_at INTO last;
    -- Each region clears its own, which is replicated; of a region that left, nobody else does.
    DELETE FROM accountdb.heartbeat AS h WHERE h.node = here AND h.beat_at < clock_timestamp() - interval '25 hours';
    DELETE FROM accountdb.heartbeat AS h WHERE h.beat_at < clock_timestamp() - interval '50 hours';
    RETURN last;
END
$function$;
REVOKE ALL ON FUNCTION accountdb.beat(interval) FROM PUBLIC;
COMMENT ON FUNCTION accountdb.beat(interval) IS 'Writes a beat of this region, unless the last one is younger than the gap.';

-- What ran last, by kind (merge, heal) and the regions that it was about.
CREATE TABLE IF NOT EXISTS accountdb.last_run (
    kind      text NOT NULL,
    partners  text NOT NULL,
    ended_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds   double precision NOT NULL,
    equal     boolean,
    written   bigint NOT NULL,
    PRIMARY KEY (kind, partners)
);
COMMENT ON TABLE accountdb.last_run IS
    'The last merge and the last healing pass with each partner: when it ended, how long it took, whether both were equal.';

-- accountdb.conflict holds secrets; how many there are is none.
CREATE OR REPLACE FUNCTION accountdb.conflict_counts(
    OUT open bigint, OUT recorded bigint, OUT last_minute bigint, OUT last_hour bigint, OUT newest timestamptz
)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
AS $function$
    SELECT (SELECT count(*) FROM accountdb.conflict AS c
            WHERE c.state = 'open' AND NOT EXISTS (SELECT FROM accountdb.resolution AS r WHERE r.conflict_id = c.id)),
           (SELECT count(*) FROM accountdb.conflict),
           (SELECT count(*) FROM accountdb.conflict AS c WHERE c.recorded_at > clock_timestamp() - interval '1 minute'),
           (SELECT count(*) FROM accountdb.conflict AS c WHERE c.recorded_at > clock_timestamp() - interval '1 hour'),
           (SELECT max(c.recorded_at) FROM accountdb.conflict AS c)
$function$;
REVOKE ALL ON FUNCTION accountdb.conflict_counts() FROM PUBLIC;
COMMENT ON FUNCTION accountdb.conflict_counts() IS 'How many conflicts there are: open, in all, of the last minute and hour.';

-- With several regions several subscriptions may wait: each for the provider that it was asked of.
ALTER TABLE accountdb.pending_subscription
    ADD COLUMN IF NOT EXISTS provider text,
    ADD COLUMN IF NOT EXISTS provider_node text;
COMMENT ON COLUMN accountdb.pending_subscription.provider IS
    'The database that is waited for, as system identifier and OID. NULL where nobody noted it.';
COMMENT ON COLUMN accountdb.pending_subscription.provider_node IS 'Its node name, where it had one by then.';

RESET client_min_messages;
