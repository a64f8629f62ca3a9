DROP TABLE IF EXISTS public.subscriptions;
DROP TABLE IF EXISTS public.admin_settings;
DROP TABLE IF EXISTS public.sessions;
DROP TABLE IF EXISTS public.identities;
DROP TABLE IF EXISTS public.users;
