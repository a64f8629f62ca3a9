"""``migratectl check --apply`` on regions whose streams run."""

from __future__ import annotations

from accountdb.lab import Lab
from tests.conftest import migratectl, run_sql, value


def test_a_joined_region_takes_only_what_is_safe(ready_lab: Lab) -> None:
    cn, other = ready_lab.region("cn").admin_dsn, ready_lab.region("global").admin_dsn

    def check(*options: str) -> tuple[int, str]:
        done = migratectl("check", "--cn", cn, "--global", other, *options)
        return done.returncode, done.stderr

    status, said = check()
    assert status == 0, said
    try:
        run_sql(cn, "COMMENT ON TABLE public.users IS 'people'")
        status, said = check("--apply", "--fix", "global")
        assert status == 0, said
        assert value(other, "SELECT obj_description('public.users'::regclass)") == "people"

        run_sql(cn, "CREATE INDEX own_level ON public.users (level)")
        status, said = check("--apply", "--fix", "global")
        assert (status, "the region is joined (" in said, "--allow joined allows it" in said) == (4, True, True)
        assert value(other, "SELECT to_regclass('public.own_level') IS NULL")
        status, said = check("--apply", "--fix", "global", "--allow", "joined")
        assert status == 0, said
        assert check()[0] == 0
    finally:
        for dsn in (cn, other):
            run_sql(dsn, "DROP INDEX IF EXISTS public.own_level")
            run_sql(dsn, "COMMENT ON TABLE public.users IS NULL")
