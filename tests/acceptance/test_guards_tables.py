"""A table of one's own, added to two joined regions: three unique indexes, children, a generated column."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from accountdb.lab import Lab
from tests.acceptance.guarding import Pair, lawful
from tests.conftest import CONTRACT, migratectl, run_sql

TABLES = f"""
    CREATE TABLE "团队 teams" (
        name text NOT NULL,
        slug varchar(16) NOT NULL,
        "Code" integer,
        closed boolean NOT NULL DEFAULT false,
        label text GENERATED ALWAYS AS (name || '/' || slug) STORED,
        {CONTRACT}
    );
    CREATE UNIQUE INDEX "teams name uk" ON "团队 teams" (lower(name));
    CREATE UNIQUE INDEX "teams slug uk" ON "团队 teams" (slug);
    CREATE UNIQUE INDEX "teams code uk" ON "团队 teams" ("Code") WHERE NOT closed;
    CREATE TABLE "团队 members" (
        team uuid NOT NULL REFERENCES "团队 teams" ON DELETE CASCADE,
        user_uuid uuid REFERENCES users ON DELETE SET NULL,
        {CONTRACT},
        UNIQUE (team, user_uuid)
    );
"""
TRIGGERS = """
    CREATE TRIGGER {function} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION public.{function}()
"""
TEAMS, MEMBERS = "团队 teams", "团队 members"


@pytest.fixture(scope="module")
def teams_lab(ready_lab: Lab) -> Iterator[Lab]:
    """The joined lab with the tables in its stream; they are gone afterwards."""
    for region in ready_lab.regions:
        run_sql(region.app_dsn, TABLES)
        for table in (TEAMS, MEMBERS):
            for function in ("set_updated_at", "bump_version"):
                run_sql(region.app_dsn, TRIGGERS.format(function=function, table=f'"{table}"'))
        found = migratectl("init", "--dsn", region.app_dsn, "--admin-dsn", region.admin_dsn, "--mode", ready_lab.mode)
        assert found.returncode == 0, found.stderr
        assert f"{MEMBERS}, {TEAMS}" in found.stderr, "their guards were made"
    join(ready_lab)
    yield ready_lab
    Pair(ready_lab).meet()
    for region in ready_lab.regions:
        for table in (TEAMS, MEMBERS) if ready_lab.mode == "pglogical" else ():
            run_sql(region.admin_dsn, "SELECT pglogical.replication_set_remove_table('rep_all', %s)", f'"{table}"')
    for region in ready_lab.regions:
        run_sql(region.app_dsn, f'DROP TABLE "{MEMBERS}", "{TEAMS}"')
    join(ready_lab)


def join(lab: Lab) -> None:
    # Each side adds its own tables, and follows the other's only once they are offered.
    for name, other in (("cn", "global"), ("global", "cn"), ("cn", "global")):
        region, provider = lab.region(name), lab.region(other)
        found = migratectl(
            "region", "join", "--dsn", region.admin_dsn, "--node", f"node_{name}", "--node-dsn", region.link_dsn,
            "--subscription", f"sub_from_{other}", "--provider-dsn", provider.link_dsn,
        )  # fmt: skip
        assert found.returncode == 0, found.stderr


def release(value: str, key: UUID, limit: int = 1000) -> str:
    suffix = f"~{str(key)[:8]}"
    return value[: limit - len(suffix)] + suffix


@pytest.mark.parametrize("first", ["cn", "global"])
def test_three_unique_indexes_hit_at_once_by_one_row(teams_lab: Lab, first: str) -> None:
    tag = f"{first}-{'m' * 8}"
    code = 1 if first == "cn" else 2
    with lawful(teams_lab) as pair:
        here, there = pair.first_and_second(first)
        with pair.apart():
            keeper = here.add(TEAMS, name=f"Team {tag}", slug=f"{tag}-slug"[:16], Code=code)
            loser = there.add(TEAMS, name=f"TEAM {tag}", slug=f"{tag}-slug"[:16], Code=code)
            member = there.add(MEMBERS, team=loser)
        kept, lost = pair.same(TEAMS, keeper), pair.same(TEAMS, loser)
        assert kept is not None
        assert lost is not None
        assert (kept["name"], kept["Code"], kept["version"]) == (f"Team {tag}", code, 0)
        assert lost["name"] == release(f"TEAM {tag}", loser)
        assert lost["slug"] == release(f"{tag}-slug"[:16], loser, 16)
        assert (lost["Code"], lost["version"]) == (None, 3)
        assert lost["label"] == f"{lost['name']}/{lost['slug']}"
        assert pair.same(MEMBERS, member) is not None
        events = pair.same_conflicts(loser)
        assert [one["kind"] for one in events] == ["unique_claim"] * 3
        assert {one["detail"] for one in events} == {"teams name uk", "teams slug uk", "teams code uk"}


@pytest.mark.parametrize("first", ["cn", "global"])
def test_three_unique_indexes_hit_at_once_by_three_rows(teams_lab: Lab, first: str) -> None:
    """Two older rows and a younger one on the far side: one row wins one claim and loses two."""
    code = 10 if first == "cn" else 20
    with lawful(teams_lab) as pair:
        here, there = pair.first_and_second(first)
        with pair.apart():
            by_name = here.add(TEAMS, name=f"n{first}", slug=f"s1{first}", Code=code)
            by_slug = here.add(TEAMS, name=f"m{first}", slug=f"s2{first}", Code=code + 1)
            middle = there.add(TEAMS, name=f"N{first}", slug=f"s2{first}", Code=code + 2)
            by_code = here.add(TEAMS, name=f"o{first}", slug=f"s3{first}", Code=code + 2)
        row, younger = pair.same(TEAMS, middle), pair.same(TEAMS, by_code)
        assert row is not None
        assert younger is not None
        assert (row["name"], row["slug"], row["Code"], row["version"]) == (
            release(f"N{first}", middle),
            release(f"s2{first}", middle, 16),
            code + 2,
            2,
        )
        assert (younger["Code"], younger["version"]) == (None, 1)
        assert all(kept and kept["version"] == 0 for kept in (pair.same(TEAMS, k) for k in (by_name, by_slug)))
        winners = {one["winner"]["uuid"] for one in pair.all_conflicts(middle)}
        assert winners == {str(by_name), str(by_slug)}


def test_a_reference_that_is_set_null_ends_equal(teams_lab: Lab) -> None:
    """The user is deleted on one side while a member is added on the other."""
    with lawful(teams_lab) as pair:
        user, team = pair.shared(), pair.cn.add(TEAMS, name="null", slug="null")
        known = pair.cn.add(MEMBERS, team=team, user_uuid=user)
        other = pair.cn.add(TEAMS, name="null2", slug="null2")
        pair.meet()
        with pair.apart():
            pair.cn.run("DELETE FROM users WHERE uuid = %s", user)
            late = pair.global_.add(MEMBERS, team=other, user_uuid=user)
        for key in (known, late):
            row = pair.same(MEMBERS, key)
            assert row is not None
            assert row["user_uuid"] is None


def test_status_knows_the_guards(teams_lab: Lab) -> None:
    found = migratectl("status", env=teams_lab.env())
    assert found.returncode == 0, found.stderr
