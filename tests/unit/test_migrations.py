"""Pure decisions of migrations: unfinished runs, segments, hazards, what is fenced, what a file drops."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from accountdb.drift.compare import Difference, Drift
from accountdb.errors import AccountdbError
from accountdb.migrations.files import Migration, script
from accountdb.migrations.hazards import hazards
from accountdb.migrations.ledger import Logged
from accountdb.migrations.planning import Applied, Step
from accountdb.migrations.together import RegionState, steps_of, unfinished
from accountdb.script.statements import split
from accountdb.setup.migrating.streams import Effects, dropped_tables, to_fence
from accountdb.setup.migrating.together import segments

RUN = UUID(int=1)
FILES = tuple(Migration(n, f"s{n}", f"SELECT {n}", f"SELECT -{n}", "folder") for n in (1, 2, 3))
APPLIED = tuple(Applied(m.version, m.name, m.checksum, m.series) for m in FILES)


def logged(*versions: int, direction: str = "up", regions: int = 2, before: str = "old") -> tuple[Logged, ...]:
    return tuple(
        Logged(
            RUN, n, "folder", v, f"s{v}", direction, FILES[v - 1].checksum, regions, before if n == 0 else "mid", "new"
        )
        for n, v in enumerate(versions)
    )


AHEAD = RegionState(APPLIED, "new", logged(2, 3), frozenset({str(RUN)}))
BEHIND = RegionState(APPLIED[:1], "old")


def test_regions_at_the_same_files_have_nothing_to_finish() -> None:
    assert unfinished({"a": AHEAD, "b": replace(AHEAD, fingerprint="other")}) is None
    assert unfinished({"a": RegionState((), "x"), "b": RegionState((), "y")}) is None


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_region_that_is_what_it_was_before_the_joint_run_lost_its_commit(order: tuple[str, str]) -> None:
    states = {"a": AHEAD, "b": BEHIND}
    found = unfinished({name: states[name] for name in order})
    assert found is not None
    assert (found.leader, found.regions, found.run) == ("a", ("b",), AHEAD.last)
    assert [step.title for step in steps_of(found.run, {"folder": FILES})] == ["0002_s2 up", "0003_s3 up"]


def test_the_way_down_is_told_from_the_log() -> None:
    down = RegionState(APPLIED[:1], "new", logged(3, 2, direction="down"), frozenset({str(RUN)}))
    found = unfinished({"a": RegionState(APPLIED, "old"), "b": down})
    assert found is not None
    assert (found.leader, found.regions) == ("b", ("a",))
    assert [step.title for step in steps_of(found.run, {"folder": FILES})] == ["0003_s3 down", "0002_s2 down"]


def test_of_three_regions_two_may_have_lost_it() -> None:
    found = unfinished({"a": BEHIND, "b": AHEAD, "c": BEHIND})
    assert found is not None
    assert found.regions == ("a", "c")


def test_a_file_that_runs_statement_by_statement_may_have_changed_its_region_already() -> None:
    assert unfinished({"a": AHEAD, "b": replace(BEHIND, fingerprint="half", begun=True)}) is not None


@pytest.mark.parametrize(
    ("ahead", "behind"),
    [
        (AHEAD, replace(BEHIND, fingerprint="changed by hand")),
        (AHEAD, replace(BEHIND, ledger=())),
        (AHEAD, replace(BEHIND, ledger=APPLIED[:2])),
        (replace(AHEAD, last=logged(2, 3, regions=1)), BEHIND),
        (replace(AHEAD, last=()), BEHIND),
        (AHEAD, replace(BEHIND, known=frozenset({str(RUN)}))),
    ],
)
def test_a_region_that_stands_elsewhere_is_named_and_nothing_is_guessed(
    ahead: RegionState, behind: RegionState
) -> None:
    with pytest.raises(
        AccountdbError, match=r"different versions: cn at 3, global at [012]; nothing was done"
    ) as stopped:
        unfinished({"cn": ahead, "global": behind})
    assert "bring global there first: migratectl migrate --dsn DSN --dir DIR --to 3" in str(stopped.value.hint)


def test_a_run_is_finished_only_with_its_own_files() -> None:
    run = logged(2)
    with pytest.raises(AccountdbError, match="0002_s2 up is not in the folder"):
        steps_of(run, {})
    with pytest.raises(AccountdbError, match="0002_s2 up was changed since"):
        steps_of(run, {"folder": (replace(FILES[1], up="SELECT 7"),)})


def step(text: str, version: int = 1) -> Step:
    return Step(Migration(version, "x", text, None, "folder"), True)


def test_neighbours_in_a_transaction_are_committed_together() -> None:
    a, b, c, d = (step(text, n) for n, text in enumerate(("SELECT 1", "SELECT 2", "--accountdb: no-transaction", "")))
    assert segments([a, b, c, d]) == [(a, b), (c,), (d,)]
    assert segments([]) == []


@pytest.mark.parametrize(
    ("text", "together"),
    [
        ("SELECT 1", True),
        ("-- accountdb: no-transaction\nSELECT 1", False),
        ("/* a */\n\n--ACCOUNTDB:no-transaction\nSELECT 1", False),
        ("SELECT 1;\n-- accountdb: no-transaction", True),
        ("-- accountdb: no-transaction please\nSELECT 1", True),
    ],
)
def test_a_comment_before_the_first_statement_opts_out(text: str, together: bool) -> None:
    assert script(text, name="x").together is together


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("DROP TABLE a", ["loses-data"]),
        ("ALTER TABLE a DROP COLUMN b", ["loses-data"]),
        ("ALTER TABLE a DROP b", ["loses-data"]),
        ("ALTER TABLE a DROP CONSTRAINT b", []),
        ("ALTER TABLE a ALTER b DROP NOT NULL", []),
        ("ALTER TABLE a ALTER b DROP DEFAULT", []),
        ("CREATE INDEX /* x */ i ON a (b)", ["locks"]),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON a (b)", []),
        ("ALTER TABLE a ALTER COLUMN b TYPE bigint", ["rewrites"]),
        ("ALTER TABLE a ALTER b SET NOT NULL", ["scans"]),
        ("ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0)", ["scans"]),
        ("ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0) NOT VALID", []),
        ("ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c", ["scans"]),
        ("ALTER TABLE a ADD UNIQUE (b)", ["scans"]),
        ("ALTER TABLE a ADD CONSTRAINT c UNIQUE USING INDEX i", []),
        ("ALTER TABLE a ADD COLUMN b uuid DEFAULT gen_random_uuid()", ["differs"]),
        ("ALTER TABLE a ADD COLUMN b text DEFAULT 'x'", []),
        ("ALTER TABLE a ADD b bigserial", ["differs"]),
        ("ALTER TABLE a RENAME b TO c", ["breaks"]),
        ("UPDATE a SET b = 1", ["writes"]),
        ("WITH x AS (SELECT 1) INSERT INTO a SELECT 1", ["writes"]),
        ("WITH x AS (SELECT 1) SELECT 1", []),
        ("TRUNCATE a", ["loses-data"]),
        ("VACUUM FULL a", ["locks"]),
        ("CREATE TABLE a (b integer)", []),
        ("COMMENT ON TABLE a IS 'drop table b'", []),
    ],
)
def test_hazards_are_told_by_the_statement(text: str, kinds: list[str]) -> None:
    (statement,) = split(text, name="x")
    assert [hazard.kind for hazard in hazards(statement)] == kinds


def drift(kind: str, name: str, change: str, *differences: tuple[str, object, object]) -> Drift:
    return Drift(kind, "public", name, change, tuple(Difference(*one) for one in differences))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "fenced"),
    [
        (drift("column", "users.phone", "extra"), False),
        (drift("column", "users.phone", "missing"), True),
        (drift("column", "users.phone", "changed", ("type", "integer", "bigint")), True),
        (drift("column", "users.phone", "changed", ("default", None, "1")), False),
        (drift("column", "users.phone", "changed", ("not_null", True, False)), False),
        (drift("column", "users.phone", "changed", ("not_null", False, True)), True),
        (drift("constraint", "users.c", "extra", ("definition", None, "CHECK")), True),
        (drift("constraint", "users.c", "missing"), False),
        (drift("index", "users.i", "extra", ("definition", None, "CREATE INDEX i")), False),
        (drift("index", "users.i", "extra", ("definition", None, "CREATE UNIQUE INDEX i")), True),
        (drift("table", "users", "missing"), True),
        (drift("table", "users", "extra"), False),
        (drift("column", "other.phone", "missing"), False),
        (drift("function", "f()", "changed"), False),
    ],
)
def test_a_table_is_fenced_when_what_is_under_way_may_not_fit(change: Drift, fenced: bool) -> None:
    assert to_fence(Effects((change,), ()), ["users"]) == (("users",) if fenced else ())


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("DROP TABLE public.a", {"a"}),
        ('DROP TABLE IF EXISTS "B b", public."c""d" CASCADE; SELECT 1; drop table E', {"B b", 'c"d', "e"}),
        ("SELECT 'DROP TABLE a'", set()),
    ],
)
def test_the_tables_that_a_file_drops(text: str, tables: set[str]) -> None:
    assert dropped_tables(step(text)) == tables
