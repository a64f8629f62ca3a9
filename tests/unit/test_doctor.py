"""What doctor makes of what it has read. Pure."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from accountdb.catalog.tables import Column, Reference, RowTrigger, Table, UniqueIndex
from accountdb.doctor import activity, clock, resolver, rights, servers, streams, tables, trial
from accountdb.doctor.clock import Clock
from accountdb.doctor.hints import on_all, psql
from accountdb.doctor.model import CHECKS, Checkup, Look, listed
from accountdb.doctor.region import Here
from accountdb.doctor.resolver import Setting, Worker
from accountdb.doctor.rights import Granted
from accountdb.doctor.streams import Slot
from accountdb.doctor.trial import Stamp, Trial
from accountdb.guards.install import GuardState, TableGuard
from accountdb.health.advice import Finding, Level
from accountdb.pg.session import Role
from accountdb.replication.facts import ServerFacts
from accountdb.replication.model import Mode, Standing, State, Subscription

ROLE = Role("postgres", True, True, True, True, "account", "account")
FACTS = ServerFacts(ROLE, 150018, "logical", "on", True, 10, 1, 1, 10, 1, 16, 4, "apply_remote", True, True)
JOINED = Standing("node_cn", Mode.PGLOGICAL, (Subscription("sub", State.REPLICATING, "slot"),), ())
ALONE = replace(JOINED, subscriptions=())


def table(name: str = "users", **changed: Any) -> Table:
    """A table under the row contract."""
    stamp = "timestamp with time zone"
    columns = [
        Column("uuid", "uuid", True, False, False, "gen_random_uuid()", False),
        Column("created_at", stamp, True, False, False, "now()", False),
        Column("updated_at", stamp, True, False, False, "now()", False),
        Column("version", "bigint", True, False, False, "0", False),
        Column("origin_node", "text", True, False, False, "node()", False),
        *changed.pop("more", ()),
    ]
    triggers = (RowTrigger("trg_a", "set_updated_at", "O"), RowTrigger("trg_b", "bump_version", "O"))
    return replace(Table("public", name, "account", tuple(columns), ("uuid",), triggers), **changed)


def here(**changed: Any) -> Here:
    """A region that is as it should be."""
    known = changed.pop("known", (table(),))
    usual = Here(
        "cn", ("cn", "global"), FACTS, "15.18", False, False, True, "1GB", 1024**3, True,
        "node_cn", Mode.PGLOGICAL, Mode.PGLOGICAL, False, JOINED, known, frozenset(),
    )  # fmt: skip
    return replace(usual, **changed)


def told(found: Any) -> list[tuple[Level, str]]:
    return [(one.level, one.check) for one in found]


def test_every_finding_names_a_check_that_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    missing = [check for check in CHECKS if f"| `{check}` |" not in text]
    assert not missing
    with pytest.raises(KeyError):
        Look("cn").passed("nonsense", "")


def test_only_a_failed_check_makes_it_unhealthy() -> None:
    look = Look("cn")
    fine = (look.passed("clock", ""), look.info("clock", ""), look.warn("clock", ""), look.unseen("clock", "why"))
    assert Checkup(("cn",), fine).healthy
    assert Checkup(("cn",), fine).counts == {"pass": 1, "info": 2, "warn": 1, "fail": 0}
    assert not Checkup(("cn",), (*fine, look.failed("clock", ""))).healthy


@pytest.mark.parametrize(
    ("ahead", "error", "level"),
    [(0.2, 0.01, Level.PASS), (1.5, 0.7, Level.PASS), (1.5, 0.1, Level.WARN), (-9, 0.1, Level.WARN),
     (300, 0.1, Level.FAIL), (-300, 0.1, Level.FAIL), (10.5, 1.0, Level.WARN)],
)  # fmt: skip
def test_clocks_are_judged_by_what_is_proved(ahead: float, error: float, level: Level) -> None:
    found = list(clock.judge_clocks({"cn": Clock(ahead, error), "global": Clock(0.0, 0.0)}))
    assert told(found) == [(level, "clock")]
    first, second = ("cn", "global") if ahead > 0 else ("global", "cn")
    assert f"{first} is " in found[0].found
    assert f"ahead of {second}, give or take " in found[0].found
    if level is not Level.PASS:
        assert "the host of cn" in found[0].remedy.says


def test_three_clocks_are_compared_in_pairs() -> None:
    clocks = {"cn": Clock(0, 0), "global": Clock(0, 0), "apac": Clock(60, 0)}
    assert [one.level for one in clock.judge_clocks(clocks)] == [Level.PASS, Level.FAIL, Level.FAIL]


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEGAN = "LOG:  starting apply for subscription "
CHANGED = 'LOG:  parameter "pglogical.conflict_resolution" changed to "apply_remote"'


@pytest.mark.parametrize(
    ("setting", "began_s", "log", "level", "says"),
    [
        # Nothing was touched since it began.
        (Setting("apply_remote", False, False, None, NOW, NOW), 10, (), Level.PASS, "which runs since"),
        (Setting("apply_remote", False, False, None, NOW, NOW - timedelta(days=1)), -10, (), Level.PASS, "runs since"),
        (Setting("apply_remote", False, True, NOW, NOW, None), 10, (), Level.PASS, "runs since"),
        # Something was; the log knows what.
        (Setting("apply_remote", False, False, None, NOW, NOW), -10, (), Level.WARN, "cannot be proved"),
        (Setting("apply_remote", False, False, None, NOW, None), -10, (), Level.WARN, "cannot be proved"),
        (Setting("apply_remote", False, True, NOW, NOW, None), -10, (), Level.WARN, "cannot be proved"),
        (Setting("apply_remote", False, True, None, NOW, None), 10, (), Level.WARN, "cannot be proved"),
        (Setting("apply_remote", False, False, None, NOW, NOW), -10, (f"x {BEGAN}sub",), Level.PASS, "runs since"),
        (Setting("apply_remote", False, False, None, NOW, NOW), -10, (CHANGED, f"{BEGAN}sub"), Level.PASS, "since"),
        (Setting("apply_remote", False, False, None, NOW, NOW), -10, (f"{BEGAN}sub", CHANGED), Level.FAIL, "not have"),
        (Setting("apply_remote", False, False, None, NOW, NOW), -10, (f"{BEGAN}sub2", CHANGED), Level.WARN, "proved"),
        # Wrong now.
        (Setting("keep_local", False, False, None, NOW, NOW), 10, (), Level.FAIL, "the running worker of sub has it"),
        (Setting("keep_local", False, False, None, NOW, NOW), -10, (), Level.FAIL, "began before that"),
        # Nobody knows.
        (Setting(None, False, False, None, NOW, NOW), 10, (), Level.INFO, "not looked at"),
        (Setting("apply_remote", False, False, None, NOW, NOW), None, (), Level.INFO, "not looked at"),
        (Setting("keep_local", False, False, None, NOW, NOW), None, (), Level.FAIL, "no running worker"),
    ],
)
def test_the_resolver_is_what_can_be_proved(
    setting: Setting, began_s: float | None, log: tuple[str, ...], level: Level, says: str
) -> None:
    began = NOW + timedelta(seconds=began_s) if began_s is not None else None
    (found,) = resolver.judge(here(), setting, [Worker("sub", began)], log)
    assert found.level is level
    assert says in found.found


@pytest.mark.parametrize(
    ("setting", "statement"),
    [
        (Setting("keep_local", False, False, None, NOW, NOW), "ALTER SYSTEM SET"),
        (Setting("keep_local", False, True, NOW, NOW, NOW), 'ALTER DATABASE "account" RESET'),
        (Setting("keep_local", True, False, NOW, NOW, NOW), "ALTER ROLE %s RESET"),
        (Setting("keep_local", True, True, NOW, NOW, NOW), 'ALTER ROLE %s IN DATABASE "account" RESET'),
    ],
)
def test_the_resolver_is_mended_where_it_stands(setting: Setting, statement: str) -> None:
    (found,) = resolver.judge(here(), setting, [Worker("sub", NOW)], ())
    assert statement in found.remedy.commands[0]
    assert found.remedy.commands[-1] == 'migratectl region resume --dsn "$CN_DSN" --subscription sub'


def slot(**changed: Any) -> Slot:
    return replace(Slot("s", "account", True, True, "reserved", 1024**2, None), **changed)


@pytest.mark.parametrize(
    ("one", "level", "says"),
    [
        (slot(), Level.PASS, "all in use"),
        (slot(active=False), Level.WARN, "nobody reads it"),
        (slot(active=False, wal_status="extended"), Level.WARN, "keeps 1.0 MB of log"),
        (slot(wal_status="unreserved"), Level.FAIL, "more than max_slot_wal_keep_size = 1GB allows"),
        (slot(wal_status="lost", active=False, kept=None), Level.FAIL, "is lost"),
        (slot(safe=100 * 1024**2), Level.WARN, "100.0 MB are left until it is lost"),
        (slot(safe=500 * 1024**2), Level.PASS, "all in use"),
        (slot(ours=False, active=False, database="other"), Level.WARN, "of database other"),
        (slot(ours=False, active=False, database=""), Level.WARN, "of database (none)"),
    ],
)
def test_slots(one: Slot, level: Level, says: str) -> None:
    (found,) = streams.judge_slots(here(), [one], {}, ("cn", "global"))
    assert found.level is level
    assert says in found.found
    (again,) = streams.judge_slots(here(), [one], {"s": ("global", "sub_from_cn", State.DISABLED)}, ("cn", "global"))
    assert again.level is level
    # A subscription of its own region reads a slot of the other one, whatever that is called.
    (same,) = streams.judge_slots(here(), [one], {"s": ("cn", "sub_from_global", State.DISABLED)}, ("cn", "global"))
    assert same == found


def test_a_lost_slot_is_made_anew_where_its_follower_is_known() -> None:
    user = {"s": ("global", "sub_from_cn", State.DOWN)}
    (found,) = streams.judge_slots(here(), [slot(wal_status="lost")], user, ("cn", "global"))
    assert found.remedy.commands == ('migratectl region resync --cn "$CN_DSN" --global "$GLOBAL_DSN" --region global',)
    (found,) = streams.judge_slots(here(), [slot(wal_status="lost")], {}, ("cn", "global"))
    assert "--slot s --yes" in found.remedy.says


def test_parameters_before_a_join_and_after() -> None:
    assert {one.level for one in servers.judge_parameters(here())} == {Level.PASS}
    full = replace(FACTS, used_slots=10)
    (taken,) = [one for one in servers.judge_parameters(here(facts=full)) if one.level is not Level.PASS]
    assert (taken.level, taken.check) == (Level.WARN, "max_replication_slots")
    apart = [one for one in servers.judge_parameters(here(facts=full, standing=ALONE)) if one.level is not Level.PASS]
    assert told(apart) == [(Level.FAIL, "max_replication_slots")]
    bad = replace(FACTS, wal_level="replica", pglogical_loaded=False, track_commit_timestamp="off", max_workers=1)
    failed = {one.check: one for one in servers.judge_parameters(here(facts=bad)) if one.level is Level.FAIL}
    assert set(failed) == {"wal_level", "shared_preload_libraries", "track_commit_timestamp", "max_worker_processes"}
    assert failed["wal_level"].remedy.commands == ("psql \"$CN_DSN\" -c 'ALTER SYSTEM SET wal_level = logical'",)
    assert "restart the server of cn" in failed["wal_level"].remedy.says


def test_a_role_that_may_not_join_matters_before_the_join_only() -> None:
    plain = replace(FACTS, role=Role("ann", False, False, False, False, "account", "account"))
    for standing, level in ((JOINED, Level.INFO), (None, Level.INFO), (ALONE, Level.FAIL)):
        found = [one for one in servers.judge_parameters(here(facts=plain, standing=standing)) if one.check == "role"]
        assert {one.level for one in found} == {level}


def test_no_limit_for_slots_is_a_warning() -> None:
    assert servers.judge_keep(here()).level is Level.PASS
    found = servers.judge_keep(here(keep="-1", keep_bytes=-1))
    assert found.level is Level.WARN
    assert "SELECT pg_reload_conf()" in found.remedy.commands[-1]


@pytest.mark.parametrize(
    ("installed", "newest", "level"),
    [
        ("2.4.2", "2.4.2", Level.PASS),
        ("2.4.1", "2.4.2", Level.WARN),
        (None, None, Level.FAIL),
        ("2.4.2", None, Level.PASS),
    ],
)
def test_the_extension(installed: str | None, newest: str | None, level: Level) -> None:
    assert servers.judge_extension(here(), installed, newest).level is level


def test_two_regions_cannot_bear_one_name_nor_differ_in_mode() -> None:
    cn, other = here(), here(name="global", node="node_global")
    assert {one.level for one in servers.across([cn, other])} == {Level.PASS}
    same = list(servers.across([cn, replace(other, node="node_cn")]))
    assert (same[0].level, same[0].check) == (Level.FAIL, "node")
    modes = list(servers.across([cn, replace(other, noted=Mode.PGSYNC)]))
    assert "pglogical in cn, pgsync in global" in modes[0].found
    minor = list(servers.across([cn, replace(other, version="15.17 (Debian)")]))
    assert (minor[-1].level, minor[-1].cause) == (Level.INFO, "another minor release")


def granted(table: str, role: str, *given: str, public: bool = False) -> Granted:
    return Granted(table, role, public, False, given)


FOUR = ("DELETE", "INSERT", "SELECT", "UPDATE")


def test_business_roles() -> None:
    def judged(*given: Granted) -> list[Finding]:
        return list(rights.judge_business(here(), given, ["users", "sessions"]))

    assert told(judged()) == [(Level.INFO, "business_role")]
    assert told(judged(granted("users", "reader", "SELECT"))) == [(Level.INFO, "business_role")]
    whole = (granted("users", "app", *FOUR), granted("sessions", "app", *FOUR))
    assert told(judged(*whole)) == [(Level.PASS, "business_role")]
    (lacking,) = judged(granted("users", "a b", *FOUR))
    assert lacking.level is Level.WARN
    assert "sessions (SELECT, INSERT, UPDATE, DELETE)" in lacking.found
    assert "--grant-to 'a b'" in lacking.remedy.commands[0]
    (much,) = judged(granted("users", 'o"dd', *FOUR, "TRUNCATE"), granted("sessions", 'o"dd', *FOUR))
    assert shlex.split(much.remedy.commands[0])[-1] == 'REVOKE TRUNCATE ON "public"."users" FROM "o""dd"'


@pytest.mark.parametrize(
    ("using", "reaching", "count"),
    [(set(), set(), 0), ({"app"}, set(), 0), ({""}, set(), 1), ({""}, {""}, 1), ({"app"}, {""}, 1),
     ({"app"}, {"app"}, 1), (set(), {""}, 0), (set(), {"app"}, 0)],
)  # fmt: skip
def test_who_reaches_the_passwords_of_pglogical(using: set[str], reaching: set[str], count: int) -> None:
    found = list(rights.judge_pglogical(here(), using, reaching))
    assert told(found) == [(Level.FAIL, "public_rights")] * count


@pytest.mark.parametrize(
    ("ssl", "local", "level"), [(True, False, Level.PASS), (False, True, Level.INFO), (False, False, Level.WARN)]
)
def test_encryption(ssl: bool, local: bool, level: Level) -> None:
    assert rights.judge_tls(here(), "this connection", ssl, "TLSv1.3", local).level is level


def test_the_row_contract_and_triggers_that_are_off() -> None:
    assert {one.level for one in tables.judge_contract(here())} == {Level.PASS}
    counting = table("n", more=(Column("no", "integer", True, False, False, "nextval('s')", True),))
    bare = replace(table("odd name"), columns=table().columns[:3])
    found = list(tables.judge_contract(here(known=(counting, bare))))
    assert told(found) == [(Level.FAIL, "row_contract"), (Level.FAIL, "sequence")]
    assert "column version bigint is missing" in found[0].found
    assert "table add 'odd name' --cn" in found[0].remedy.commands[0]
    off = replace(
        table(), row_triggers=(RowTrigger("trg_a", "set_updated_at", "O"), RowTrigger("b", "bump_version", "R"))
    )
    assert {one.level for one in tables.judge_contract(here(known=(off,)))} == {Level.PASS}
    (wrong,) = tables.judge_triggers(here(known=(off,)), [])
    assert wrong.level is Level.FAIL
    assert wrong.found == "trigger b on public.users: it is in mode R, not O"


def test_no_tables_at_all() -> None:
    assert told(tables.judge_contract(here(known=()))) == [(Level.FAIL, "row_contract")]


def test_guards_say_which_trigger_is_off() -> None:
    modes = {("public", "users", "accountdb_guard"): "D", ("public", "users", "accountdb_bury"): "O"}
    (found,) = tables.judge_guards(here(), [TableGuard("public", "users", GuardState.DISABLED)], modes)
    assert found.cause == "accountdb_guard is in mode D, not R"
    (fine,) = tables.judge_guards(here(), [TableGuard("public", "users", GuardState.INSTALLED)], {})
    assert fine.level is Level.PASS


def test_what_is_replicated() -> None:
    own = {("accountdb", name) for name in ("tombstone", "resolution", "heartbeat")}
    both = (table(), table("more"))
    all_of_it = frozenset({("public", "users"), ("public", "more"), *own})
    assert told(tables.judge_replicated(here(known=both, offered=all_of_it))) == [(Level.PASS, "replicated")]
    one = frozenset({("public", "users"), *own})
    assert told(tables.judge_replicated(here(known=both, offered=one))) == [(Level.WARN, "replicated")]
    bare = frozenset({("public", "users")})
    assert told(tables.judge_replicated(here(offered=bare))) == [(Level.FAIL, "replicated")]
    assert told(tables.judge_replicated(here(offered=None))) == [(Level.INFO, "replicated")]
    assert told(tables.judge_replicated(here(standing=ALONE))) == []


@pytest.mark.parametrize(("kind", "level"), [("n", Level.FAIL), ("f", Level.WARN), ("i", Level.WARN)])
def test_the_replica_identity(kind: str, level: Level) -> None:
    (found,) = tables.judge_identities(here(), {"users": kind, "elsewhere": "n"})
    assert found.level is level
    assert "REPLICA IDENTITY DEFAULT" in found.remedy.commands[0]


def unique(*keys: str, comment: str | None = None, columns: tuple[str, ...] = ("name",)) -> UniqueIndex:
    equal = (("pg_catalog", "="),) * len(keys)
    return UniqueIndex("uk", keys, equal, None, columns, False, comment)


REFERRED = (Reference("fk", ("public", "kid"), ("user_uuid",), ("public", "users"), ("uuid",), "c"),)


@pytest.mark.parametrize(
    ("index", "type_", "doubt"),
    [
        (unique("name"), "text", ""),
        (unique("lower(name)"), "text", ""),
        (unique("lower((name)::text)"), "character varying(64)", ""),
        (unique("left(name, 3)"), "text", "may have the same key again"),
        (unique("name"), "character varying(8)", "too few for a released value"),
        (unique("name", comment="accountdb: relase name"), "text", "is no rule"),
        (unique("name", comment="accountdb: release other"), "text", "names nothing that could be released"),
        (unique("name"), "integer", "parked with everything that refers to it"),
        (unique("name", comment="accountdb: park"), "integer", ""),
    ],
)
def test_unique_indexes_that_a_guard_serves_badly(index: UniqueIndex, type_: str, doubt: str) -> None:
    column = Column("name", type_, True, False, False, None, False)
    one = table(more=(column,), unique_indexes=(index,), referenced_by=REFERRED)
    (found,) = tables.judge_unique(here(known=(one,)), [])
    assert found.level is (Level.WARN if doubt else Level.PASS), found
    assert doubt in found.found


def test_exclusion_constraints_are_none_of_a_guard() -> None:
    found = list(tables.judge_unique(here(), [("users", "no_overlap"), ("elsewhere", "x")]))
    assert told(found) == [(Level.WARN, "unique_index")]


@pytest.mark.parametrize(
    ("version", "later_s", "node", "fault"),
    [
        (6, 1, "node_cn", ""),
        (5, 1, "node_cn", "leaves version at 5"),
        (7, 1, "node_cn", "turns version 5 into 7"),
        (6, 0, "node_cn", "does not move updated_at"),
        (6, 1, "local", "names node local, not node_cn"),
    ],
)
def test_a_trial(version: int, later_s: int, node: str, fault: str) -> None:
    before, after = Stamp(5, NOW, "x"), Stamp(version, NOW + timedelta(seconds=later_s), node)
    (found,) = trial.judge(here(), [Trial("users", "", before, after, "node_cn")])
    assert found.level is (Level.FAIL if fault else Level.PASS)
    assert fault in found.found


def test_what_was_not_tried_has_not_passed() -> None:
    found = list(trial.judge(here(), [Trial("a", "why"), Trial("b", "why"), Trial("c", "other")]))
    assert [one.level for one in found] == [Level.INFO, Level.INFO]
    assert found[0].cause == "public.a, public.b: why"


@pytest.mark.parametrize(
    ("runs", "level"),
    [
        ([], Level.WARN),
        ([("heal", True, 60.0)], Level.PASS),
        ([("heal", None, 60.0), ("merge", False, 90.0)], Level.PASS),
        ([("merge", False, 60.0)], Level.WARN),
        ([("heal", True, 90_000.0)], Level.WARN),
    ],
)
def test_when_a_merge_ran_last(runs: list[tuple[str, bool | None, float]], level: Level) -> None:
    assert activity.judge_runs(here(), runs).level is level


def test_commands_are_words_for_a_shell() -> None:
    assert psql("cn", "SELECT 'a'")[0] == 'psql "$CN_DSN" -c "SELECT \'a\'"'
    for statement in ('ALTER TABLE "o""dd" ENABLE TRIGGER "x"', "DO $$BEGIN PERFORM 'x'; END$$", "SELECT E'\\\\n`x`'"):
        assert shlex.split(psql("cn", statement)[0])[-1] == statement
    assert on_all(("cn",), "merge") == ('migratectl merge --cn "$CN_DSN" --global "$GLOBAL_DSN"',)
    assert on_all(("apac",), "merge") == ()
    assert on_all(("a", "b"), "merge") == ('migratectl merge --node a="$A_DSN" --node b="$B_DSN"',)


def test_long_lists_are_short() -> None:
    assert listed(["a", "b"], 4) == "a, b"
    assert listed(list("abcdefgh"), 4) == "a, b, c, d, 4 more"
