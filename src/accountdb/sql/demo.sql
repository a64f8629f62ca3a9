The statements of the demo's load: what an account service writes.

-- register --
INSERT INTO public.users (username, email, password, level, groups, email_verified_at)
VALUES (%(username)s, %(email)s, %(password)s, %(level)s, %(groups)s, %(verified_at)s) RETURNING uuid;

-- identity --
INSERT INTO public.identities (provider, external_id, user_uuid) VALUES (%(provider)s, %(external_id)s, %(user)s);

-- session --
INSERT INTO public.sessions (token, expires_at, user_uuid)
VALUES (%(token)s, now() + interval '30 days', %(user)s) RETURNING uuid;

-- subscription --
INSERT INTO public.subscriptions (user_uuid, provider, payment_method, plan_id, external_id, meta)
VALUES (%(user)s, %(provider)s, 'card', %(plan)s, %(external_id)s, jsonb_build_object('来源', 'demo', 'plan', %(plan)s::text));

-- setting --
INSERT INTO public.admin_settings (module_key, role, enabled) VALUES (%(module)s, %(role)s, true)
ON CONFLICT (module_key, role) DO UPDATE SET enabled = NOT admin_settings.enabled;

-- edit --
UPDATE public.users SET level = %(level)s, groups = %(groups)s, role = %(role)s WHERE uuid = %(user)s;

-- renew --
UPDATE public.sessions SET expires_at = now() + interval '30 days' WHERE uuid = %(session)s;

-- sign_out --
DELETE FROM public.sessions WHERE uuid = %(session)s;
