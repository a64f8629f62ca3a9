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
