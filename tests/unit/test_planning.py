"""The pure decisions: migration plans, the row contract, guard definitions, causes in logs, server facts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accountdb.catalog.tables import Column, RowTrigger, Table
from accountdb.contract.row_contract import ACCOUNT_TABLES, candidates, violations
from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.guards.definition import Guard, define, hash_in_comment
from accountdb.health.log import cause_in_log
from accountdb.health.status import RegionStatus, Status, read_status
from accountdb.migrations.files import Migration, shipped
from accountdb.migrations.planning import Applied, Plan, plan
from accountdb.pg.names import function_name
from accountdb.pg.session import Role
from accountdb.replication.facts import ServerFacts, problems
from accountdb.replication.model import Mode

FILES = tuple(Migration(n, f"step{n}", f"up {n}", f"down {n}") for n in (1, 2, 3))


def ledger(*versions: int) -> tuple[Applied, ...]:
    return tuple(Applied(m.version, m.name, m.checksum) for m in FILES if m.version in versions)


def titles(found: Plan) -> list[str]:
    return [step.title for step in found.steps]


@pytest.mark.parametrize(
    ("applied", "to", "expected"),
    [
        ((), None, ["0001_step1 up", "0002_step2 up", "0003_step3 up"]),
        ((1,), None, ["0002_step2 up", "0003_step3 up"]),
        ((1, 2, 3), None, []),
        ((), 2, ["0001_step1 up", "0002_step2 up"]),
        ((1, 2), 2, []),
        ((), 0, []),
        ((1, 3), None, ["0002_step2 up"]),
        ((1, 2, 3), 1, ["0003_step3 down", "0002_step2 down"]),
        ((1, 2, 3), 0, ["0003_step3 down", "0002_step2 down", "0001_step1 down"]),
        ((1, 3), 0, ["0003_step3 down", "0001_step1 down"]),
    ],
)
def test_a_plan_has_the_steps_between_two_versions(
    applied: tuple[int, ...], to: int | None, expected: list[str]
) -> None:
    found = plan(ledger(*applied), FILES, to, allow_down=True, allow_out_of_order=True)
    assert titles(found) == expected
    assert found.from_version == max(applied, default=0)
    assert found.to_version == (3 if to is None else to)
    assert [step.sql for step in found.steps] == [f"{t.split()[1]} {t[3]}" for t in expected]


def test_going_down_is_refused_without_leave_and_names_the_option() -> None:
    with pytest.raises(Refused) as refused:
        plan(ledger(1, 2, 3), FILES, 1)
    assert "version 1 is below the applied version 3" in refused.value.message
    assert "--allow-down" in str(refused.value.hint)
    assert refused.value.exit_status == 4


@pytest.mark.parametrize("to", [-1, 4, 999])
@pytest.mark.parametrize("allow_down", [True, False])
def test_a_version_that_no_file_has_is_a_usage_error(to: int, allow_down: bool) -> None:
    with pytest.raises(UsageError) as refused:
        plan(ledger(1), FILES, to, allow_down=allow_down)
    assert refused.value.message == f"there is no version {to}"
    assert refused.value.hint == "versions go from 0 to 3"


@pytest.mark.parametrize("to", [None, 0, 3])
def test_a_file_that_changed_after_it_was_applied_stops_every_plan(to: int | None) -> None:
    changed = (FILES[0], replace(FILES[1], up="up 2, differently"), FILES[2])
    with pytest.raises(AccountdbError, match="0002_step2 was changed after it was applied") as stopped:
        plan(ledger(1, 2), changed, to, allow_down=True)
    assert stopped.value.exit_status == 3
    assert titles(plan(ledger(1), changed)) == ["0002_step2 up", "0003_step3 up"]


def test_a_newer_ledger_than_the_program_is_left_alone() -> None:
    newer = (*ledger(1, 2, 3), Applied(4, "tomorrow", "x"))
    with pytest.raises(AccountdbError, match=r"version 4 \(tomorrow\), this program knows 3"):
        plan(newer, FILES, 0, allow_down=True)


def test_the_shipped_files_are_numbered_and_have_both_halves() -> None:
    assert [m.version for m in shipped()] == list(range(1, len(shipped()) + 1))
    assert all(
        m.up.strip() and m.down and m.down.strip() and re.fullmatch("[0-9a-f]{64}", m.checksum) for m in shipped()
    )


def column(name: str, type_: str, **more: Any) -> Column:
    values = {"not_null": True, "generated": False, "identity": False, "default": None, "uses_sequence": False, **more}
    return Column(name, type_, **values)


CONTRACT = (
    column("uuid", "uuid", default="gen_random_uuid()"),
    column("created_at", "timestamp with time zone", default="now()"),
    column("updated_at", "timestamp with time zone", default="now()"),
    column("version", "bigint", default="0"),
    column("origin_node", "text", default="accountdb.node_name()"),
)
TRIGGERS = (RowTrigger("a", "set_updated_at", "O"), RowTrigger("b", "bump_version", "O"))


def table(*more: Column, name: str = "notes", columns: tuple[Column, ...] = CONTRACT, **changes: Any) -> Table:
    return replace(Table("public", name, "owner", (*columns, *more), ("uuid",), TRIGGERS), **changes)


def without(name: str, *instead: Column) -> Table:
    return table(*instead, columns=tuple(c for c in CONTRACT if c.name != name))


def test_a_table_under_the_row_contract_has_no_faults() -> None:
    assert violations(table(column("body", "text", not_null=False, default="'x'"))) == ()


@pytest.mark.parametrize(
    ("faulty", "fault"),
    [
        (table(primary_key=()), "its primary key is (none), not (uuid)"),
        (table(primary_key=("id",)), "its primary key is (id), not (uuid)"),
        (table(primary_key=("uuid", "id")), "its primary key is (uuid, id), not (uuid)"),
        (without("uuid", column("uuid", "text")), "column uuid is text, not uuid"),
        (without("uuid", column("uuid", "uuid")), "column uuid has no DEFAULT gen_random_uuid()"),
        (without("version"), "column version bigint is missing"),
        (without("origin_node"), "column origin_node text is missing"),
        (without("updated_at"), "column updated_at timestamp with time zone is missing"),
        (
            without("version", column("version", "integer")),
            "column version is integer NOT NULL, not bigint NOT NULL",
        ),
        (
            without("version", column("version", "bigint", not_null=False)),
            "column version is bigint NULL, not bigint NOT NULL",
        ),
        (
            without("updated_at", column("updated_at", "timestamp without time zone")),
            "column updated_at is timestamp without time zone NOT NULL, not timestamp with time zone NOT NULL",
        ),
        (
            table(column("id", "bigint", uses_sequence=True, default="nextval('s'::regclass)")),
            "column id takes its value from a sequence, which collides between regions",
        ),
        (
            table(column("id", "integer", identity=True)),
            "column id takes its value from a sequence, which collides between regions",
        ),
        (
            table(row_triggers=TRIGGERS[:1]),
            "no BEFORE UPDATE trigger calls bump_version(), or it is not in origin mode",
        ),
        (
            table(row_triggers=TRIGGERS[1:]),
            "no BEFORE UPDATE trigger calls set_updated_at(), or it is not in origin mode",
        ),
        *(
            (
                table(row_triggers=(TRIGGERS[0], RowTrigger("b", "bump_version", mode))),
                "no BEFORE UPDATE trigger calls bump_version(), or it is not in origin mode",
            )
            for mode in "DRA"
        ),
    ],
)
def test_each_fault_of_the_row_contract_is_named_alone(faulty: Table, fault: str) -> None:
    assert violations(faulty) == (fault,)


def test_all_faults_are_named_at_once() -> None:
    assert len(violations(table(columns=(), primary_key=(), row_triggers=()))) == 1 + 4 + 2


def test_other_tools_tables_and_excluded_ones_are_no_candidates() -> None:
    tables = [table(name=name) for name in (*ACCOUNT_TABLES, "schema_migrations", "audit")]
    assert [t.name for t in candidates(tables, ["audit"])] == list(ACCOUNT_TABLES)


GENERATED = column("verified", "boolean", generated=True, default="(at IS NOT NULL)", bases=("at",))
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63).filter(
    lambda name: len(name.encode()) <= 63
)


@given(names, names)
@example("public", "表" * 21)
@example("public", "x" * 63)
def test_a_guard_function_name_is_one_that_postgresql_keeps_whole(schema: str, name: str) -> None:
    assert len(function_name("guard", schema, name).encode()) <= 63
    assert function_name("guard", schema, name).startswith("guard_")


@given(st.tuples(names, names), st.tuples(names, names))
@example(("public", "x" * 62 + "a"), ("public", "x" * 62 + "b"))
@example(("public", "表" * 20 + "甲"), ("public", "表" * 20 + "乙"))
@example(("public", "Users"), ("public", "users"))
@example(("public", "crm.users"), ("crm", "users"))
@example(("a.b", "c"), ("a", "b.c"))
def test_two_tables_never_share_a_guard_function(a: tuple[str, str], b: tuple[str, str]) -> None:
    assert (function_name("guard", *a) == function_name("guard", *b)) == (a == b)


def text_of(guard: Guard) -> str:
    return ";\n".join(statement.as_string() for statement in guard.statements)


def test_a_guard_hash_is_stable_and_stands_in_the_trigger_comment() -> None:
    guard = define(table(GENERATED), {})
    assert guard == define(table(GENERATED), {})
    comment = re.search(r"IS '(accountdb guard [0-9a-f]+)'", text_of(guard))
    assert comment
    assert hash_in_comment(comment[1]) == guard.hash
    assert hash_in_comment("somebody else's trigger") is None
    assert hash_in_comment(None) is None


@pytest.mark.parametrize(
    "other",
    [
        table(),
        table(GENERATED, name="others"),
        table(replace(GENERATED, default="(at > now())")),
        table(replace(GENERATED, name="checked")),
        table(replace(GENERATED, bases=("at", "by"))),
        table(GENERATED, schema="crm"),
        table(GENERATED, owner="somebody"),
    ],
)
def test_a_guard_hash_changes_with_the_definition(other: Table) -> None:
    assert text_of(define(other, {})) != text_of(define(table(GENERATED), {}))
    assert define(other, {}).hash != define(table(GENERATED), {}).hash


def test_a_guard_quotes_every_name() -> None:
    odd = column('sta"tus', "boolean", generated=True, default="true", bases=("a'b",))
    told = text_of(define(table(odd, name='no"tes{}', owner="Ow ner"), {}))
    for quoted in ('"no""tes{}"', '"sta""tus"', '"Ow ner"', '"guard_no""tes{}"'):
        assert quoted in told


LAB = "2026-11-22 11:58:26.565 UTC [25461] logical replication apply worker "
LAB_15 = "2026-11-22 11:58:35.336 UTC [25833] pglogical apply 16385:6761 [unknown]@account/pglogical apply 16385:6761 "
BARE = "2026-11-22 11:58:26.565 UTC [25461] "  # Debian's and PostgreSQL's own log_line_prefix
NO_LOGIN = (
    'could not connect to the publisher: connection to server at "127.0.0.1", port 40705 failed:'
    ' FATAL:  password authentication failed for user "postgres"'
)
DUPLICATE = 'duplicate key value violates unique constraint "users_username_lower_uk"'
NATIVE_APPLY = (
    "{0}ERROR:  " + DUPLICATE + "\n"
    "{0}DETAIL:  Key (lower(username))=(dup) already exists.\n"
    '{0}CONTEXT:  processing remote data for replication origin "pg_16555" during message type "INSERT"'
    ' for replication target relation "public.users" in transaction 751, finished at 0/18C2930\n'
    '{1}LOG:  background worker "logical replication apply worker" (PID 25461) exited with exit code 1\n'
)
PGLOGICAL_APPLY = (
    "{0}ERROR:  " + DUPLICATE + "\n"
    "{0}DETAIL:  Key (lower(username))=(dup) already exists.\n"
    "{0}CONTEXT:  apply INSERT from remote relation public.users in commit before 0/19D7C00, xid 743"
    " committed at 2026-11-22 11:58:30.321965+00 (action #2) from node replorigin 1\n"
    "{0}LOG:  apply worker [25833] at slot 1 generation 2 exiting with error\n"
)
PGLOGICAL_DOWN = (
    "{0}ERROR:  could not connect to the postgresql server: connection to server at"
    ' "127.0.0.1", port 1 failed: Connection refused\n'
    "\t\tIs the server running on that host and accepting TCP/IP connections?\n"
    "{0}DETAIL:  dsn was: host=127.0.0.1 password=QXZW fallback_application_name='sub'\n"
)


@pytest.mark.parametrize(
    ("tail", "cause"),
    [
        ("", None),
        (LAB + 'LOG:  logical replication apply worker for subscription "sub" has started\n', None),
        (BARE + 'ERROR:  relation "user" does not exist at character 15\n', None),
        (LAB + f"ERROR:  {NO_LOGIN}\n", NO_LOGIN),
        (BARE + f"ERROR:  {NO_LOGIN}\n", NO_LOGIN),
        (NATIVE_APPLY.format(LAB, BARE), DUPLICATE),
        (NATIVE_APPLY.format(BARE, BARE), DUPLICATE),
        (PGLOGICAL_APPLY.format(LAB_15), DUPLICATE),
        (
            PGLOGICAL_DOWN.format(LAB_15),
            'could not connect to the postgresql server: connection to server at "127.0.0.1", port 1 failed:'
            " Connection refused",
        ),
        (LAB_15 + "ERROR:  connection to other side has died\n", "connection to other side has died"),
        (NATIVE_APPLY.format(LAB, BARE) + LAB + f"ERROR:  {NO_LOGIN}\n", NO_LOGIN),
    ],
)
def test_the_cause_is_the_newest_error_of_a_worker(tail: str, cause: str | None) -> None:
    assert cause_in_log(tail) == cause


def test_the_cause_shows_no_secret() -> None:
    for dsn in ("host=db password=QXZW", "host=db password='QX ZW'", "postgresql://ann:QXZW@db/account"):
        cause = cause_in_log(f'{LAB}ERROR:  could not connect to the publisher with "{dsn}" today\n')
        assert cause
        assert "***" in cause
        assert not set(cause) & set("QXZW")


@pytest.mark.parametrize("word", ["DETAIL", "STATEMENT", "CONTEXT", "HINT", "QUERY"])
def test_a_continuation_line_is_never_taken(word: str) -> None:
    quoting = f"{LAB}{word}:  Key (token)=(ERROR:  apply worker of pglogical, QXZW) already exists.\n"
    assert cause_in_log(quoting) is None
    assert cause_in_log(f"{LAB}ERROR:  {DUPLICATE}\n{quoting}") == DUPLICATE


ADMIN = Role("postgres", True, True, True, True, "account", "account")
ORDINARY = Role("account", False, False, False, False, "account", "account")
GOOD = ServerFacts(ADMIN, 150018, "logical", "on", True, 10, 0, 0, 10, 0, 16, 4, "apply_remote", True, True)


def told(mode: Mode, *, provides: bool = False, receives: bool = False, **changes: Any) -> str:
    found = problems(replace(GOOD, **{"version_num": 170010, **changes}), mode, provides=provides, receives=receives)
    return " | ".join(map(str, found))


@pytest.mark.parametrize("mode", [Mode.NATIVE, Mode.PGLOGICAL])
def test_a_server_that_can_take_a_stream_has_no_problems(mode: Mode) -> None:
    assert told(mode, provides=True, receives=True) == ""
    unused = replace(GOOD, version_num=170010, used_slots=10, used_senders=10, used_origins=10, role=ORDINARY)
    assert problems(unused, mode, provides=False, receives=False) == ()


@pytest.mark.parametrize(
    ("side", "changes", "expected"),
    [
        ("", {"wal_level": "replica"}, "wal_level is replica; set wal_level = logical"),
        ("", {"version_num": 150018}, "PostgreSQL 15 cannot subscribe with origin = none; native mode needs 16"),
        ("p", {"used_slots": 10}, "10 of 10 replication slots are taken; raise max_replication_slots"),
        ("p", {"used_senders": 10}, "10 of 10 WAL senders are taken; raise max_wal_senders"),
        ("p", {"role": ORDINARY}, "role account may not replicate; an administrator runs: ALTER ROLE"),
        ("r", {"used_origins": 10}, "10 of 10 replication origins are taken; raise max_replication_slots"),
        ("r", {"max_workers": 1}, "only 1 worker processes are allowed; raise max_worker_processes"),
        ("r", {"max_apply_workers": 0}, "raise max_logical_replication_workers"),
        ("r", {"role": ORDINARY}, "role account may not subscribe; an administrator runs: GRANT pg_create_sub"),
        ("r", {"role": replace(ORDINARY, create_subscription=True), "may_create": False}, "GRANT CREATE ON DATABASE"),
    ],
)
def test_each_problem_of_a_native_server_is_told(side: str, changes: dict[str, Any], expected: str) -> None:
    found = told(Mode.NATIVE, provides="p" in side, receives="r" in side, **changes)
    assert expected in found
    assert " | " not in found


def test_an_ordinary_role_that_may_subscribe_is_enough_for_native_mode() -> None:
    role = replace(ORDINARY, create_subscription=True, replication=True)
    assert told(Mode.NATIVE, provides=True, receives=True, role=role) == ""


@pytest.mark.parametrize(
    ("side", "changes", "expected"),
    [
        ("", {"pglogical_loaded": False}, "pglogical is not preloaded"),
        ("", {"has_pglogical": False}, "extension pglogical is missing; run migratectl init --mode pglogical"),
        ("", {"track_commit_timestamp": "off"}, "track_commit_timestamp is off"),
        ("r", {"conflict_resolution": "last_update_wins"}, "pglogical.conflict_resolution is last_update_wins"),
        ("r", {"conflict_resolution": ""}, "pglogical.conflict_resolution is not set"),
        ("r", {"role": ORDINARY}, "role account is no superuser"),
    ],
)
def test_each_problem_of_a_pglogical_server_is_told(side: str, changes: dict[str, Any], expected: str) -> None:
    found = told(Mode.PGLOGICAL, provides="p" in side, receives="r" in side, **changes)
    assert expected in found
    assert " | " not in found


def test_all_problems_are_told_at_once() -> None:
    found = told(Mode.PGLOGICAL, wal_level="replica", pglogical_loaded=False, has_pglogical=False)
    assert found.count(" | ") == 2


def test_a_region_that_cannot_be_reached_is_a_finding_that_says_why() -> None:
    dsn = "postgresql://ann:QXZW@127.0.0.1:1/account?connect_timeout=2"
    status = read_status({"cn": dsn, "global": dsn})
    assert not status.healthy
    for region in status.regions:
        assert region.error
        assert "Connection refused" in region.error
        assert region.findings == (f"{region.name}: {region.error}",)
        assert not set(region.error) & set("QXZW")


def test_a_dsn_that_cannot_be_read_is_no_finding_but_a_usage_error() -> None:
    with pytest.raises(UsageError):
        read_status({"cn": "nonsense"})


def test_a_status_is_healthy_without_findings_only() -> None:
    assert Status((RegionStatus("cn"),)).healthy
    assert not Status((RegionStatus("cn"), RegionStatus("global", findings=("something",)))).healthy
