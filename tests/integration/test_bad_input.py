"""Bad input as a user meets it: one clear line, the right exit status, no secret, and nothing changed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue

import pytest
from psycopg.conninfo import conninfo_to_dict

from accountdb.lab import Lab
from accountdb.pg.dsn import with_params
from accountdb.replication.model import Mode
from accountdb.setup.init import InitRequest, init
from tests.conftest import CONTRACT, Databases, as_role, make_lab, rows, run_command, run_sql

pytest_plugins = ("tests.integration.conftest_drift",)

SECRET = "QXZW-geheim"
NOWHERE = f"postgresql://account:{SECRET}@127.0.0.1:1/account"
HALF = f"postgresql://account:Q@{SECRET}@127.0.0.1/account"  # an @ that is not escaped

# What a command could change.
STATE = """
    SELECT 'class', c.oid::text, c.relname::text, c.relfilenode::text FROM pg_class AS c
        WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'accountdb'))
    UNION ALL SELECT 'function', p.oid::text, p.proname, p.prosrc FROM pg_proc AS p
        WHERE p.pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'accountdb'))
    UNION ALL SELECT 'trigger', t.oid::text, t.tgname, t.tgenabled::text FROM pg_trigger AS t WHERE NOT t.tgisinternal
    UNION ALL SELECT 'schema', n.oid::text, n.nspname, n.nspacl::text FROM pg_namespace AS n
        WHERE n.nspname NOT LIKE 'pg\\_%'
    UNION ALL SELECT 'extension', e.oid::text, e.extname, e.extversion FROM pg_extension AS e
    UNION ALL SELECT 'publication', p.oid::text, p.pubname, '' FROM pg_publication AS p
    UNION ALL SELECT 'published', r.oid::text, '', '' FROM pg_publication_rel AS r
    UNION ALL SELECT 'subscription', s.oid::text, s.subname, '' FROM pg_subscription AS s
        JOIN pg_database AS d ON d.oid = s.subdbid WHERE d.datname = current_database()
    UNION ALL SELECT 'slot', s.slot_name, s.plugin, '' FROM pg_replication_slots AS s
        WHERE s.database = current_database()
    UNION ALL SELECT 'role', r.oid::text, r.rolname, md5(r.rolpassword) FROM pg_authid AS r
    UNION ALL SELECT 'setting', s.setrole::text, s.setconfig::text, '' FROM pg_db_role_setting AS s
        JOIN pg_database AS d ON d.oid = s.setdatabase WHERE d.datname = current_database()
    ORDER BY 1, 2, 3, 4
"""
OWN = """
    SELECT 'node', to_jsonb(n)::text FROM accountdb.node AS n
    UNION ALL SELECT 'waits', to_jsonb(p)::text FROM accountdb.pending_subscription AS p
    UNION ALL SELECT 'applied', to_jsonb(m)::text FROM accountdb.migration AS m ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Pair:
    """Two regions that could join, as the superuser; ``ordinary``: the first as the role that owns it."""

    here: str
    there: str
    ordinary: str

    def filled(self, text: str) -> str:
        """``text`` with the DSNs in the places that are named for them."""
        places = {"here": self.here, "there": self.there, "ordinary": self.ordinary}
        for place, dsn in places.items():
            text = text.replace(f"{{{place}}}", dsn).replace(f"{{{place} without password}}", _without_password(dsn))
        return text

    @property
    def passwords(self) -> set[str]:
        """Every password in the DSNs."""
        return {str(conninfo_to_dict(dsn)["password"]) for dsn in (self.here, self.there, self.ordinary)}

    def state(self) -> list[tuple[object, ...]]:
        """Everything in both regions that must stay as it is."""
        found: list[tuple[object, ...]] = []
        for dsn in (self.here, self.there):
            ready = rows(dsn, "SELECT to_regclass('accountdb.pending_subscription') IS NOT NULL") == [(True,)]
            found += rows(dsn, STATE) + (rows(dsn, OWN) if ready else [])
        return found


def _without_password(dsn: str) -> str:
    return " ".join(f"{key}={text}" for key, text in conninfo_to_dict(dsn).items() if key != "password")


def make_pair(databases: Databases, owner_dsn: str, mode: Mode = Mode.NATIVE) -> Pair:
    """Two fresh regions, migrated and initialised but not joined."""
    here, there = databases.migrated(), databases.migrated()
    init(InitRequest(here, mode, "node_here"))
    init(InitRequest(there, mode, "node_there"))
    return Pair(here, there, as_role(here, owner_dsn))


def forget(pair: Pair) -> None:
    """Take off the shared server what a join left that should have been refused."""
    for dsn in (pair.here, pair.there):
        for kind, _, name, _ in rows(dsn, STATE):
            if kind == "subscription":
                run_sql(dsn, f'DROP SUBSCRIPTION "{name}"')


@pytest.fixture
def own_pair(databases: Databases, native_lab: Lab) -> Iterator[Pair]:
    """Two regions that a test may change."""
    made = make_pair(databases, native_lab.region("cn").app_dsn)
    yield made
    forget(made)


@dataclass(frozen=True)
class Outcome:
    """What a command said, plainly and with --debug, and what of the two regions it changed."""

    plain: subprocess.CompletedProcess[str]
    debug: subprocess.CompletedProcess[str] | None
    changed: set[tuple[object, ...]]
    secrets: set[str]


def tried(pair: Pair, *arguments: str, program: str = "migratectl", **env: str) -> Outcome:
    """Run a command, and with --debug too where it gets a secret of ours."""
    before = set(pair.state())
    filled = [pair.filled(argument) for argument in arguments]
    plain = run_command(program, *filled, env=env)
    debugging = SECRET in "".join((*filled, *env.values()))
    debug = run_command(program, "--debug", *filled, env=env) if debugging else None
    return Outcome(plain, debug, set(pair.state()) ^ before, pair.passwords | {SECRET})


def assert_refused(outcome: Outcome, status: int, fact: str) -> None:
    """One line of error, list lines perhaps, a hint, the status; no secret, no traceback, no change."""
    plain, debug = outcome.plain, outcome.debug
    assert outcome.changed == set(), plain.stderr
    assert plain.returncode == status, plain.stderr
    assert plain.stdout == ""
    assert "Traceback" not in plain.stderr
    lines = plain.stderr.splitlines()
    assert lines[0].startswith("error: "), plain.stderr
    assert fact in plain.stderr
    said = plain.stderr
    if debug:
        assert debug.returncode == status, debug.stderr
        said += debug.stdout + debug.stderr
    for secret in outcome.secrets:
        assert secret not in said
    assert all(line.startswith("  - ") for line in lines[1:-1]), plain.stderr
    assert lines[-1].startswith("hint: "), plain.stderr


def refused(pair: Pair, status: int, fact: str, *arguments: str) -> None:
    """Run a command that has to be refused."""
    assert_refused(tried(pair, *arguments), status, fact)


def join(**changes: str) -> list[str]:
    """The command that joins ``here`` to ``there``, with options replaced or added."""
    values = {
        "dsn": "{here}",
        "node": "node_here",
        "node_dsn": "{here}",
        "subscription": "s",
        "provider_dsn": "{there}",
    }
    return ["region", "join", *(f"--{name.replace('_', '-')}={text}" for name, text in {**values, **changes}.items())]


@dataclass(frozen=True)
class Case:
    """A command, what it says, and how it exits."""

    status: int
    fact: str
    arguments: list[str]
    env: dict[str, str] = field(default_factory=dict)
    program: str = "migratectl"


AMBIGUOUS = "has a user or password with an unescaped special character"
NO_LOGIN = 'password authentication failed for user "account"'
CASES = {
    "unreachable host": Case(3, "cannot connect to account@127.0.0.1:1/account: ", ["version", f"--dsn={NOWHERE}"]),
    "unreachable by environment": Case(3, "Connection refused", ["migrate"], {"DB_URL": NOWHERE}),
    "unreachable provider": Case(3, "--provider-dsn: cannot connect", join(provider_dsn=NOWHERE)),
    "unreachable admin": Case(3, "--admin-dsn: cannot connect", ["init", "--dsn={here}", f"--admin-dsn={NOWHERE}"]),
    "wrong password": Case(3, NO_LOGIN, ["version", f"--dsn={{ordinary}} password={SECRET}"]),
    "wrong PGPASSWORD": Case(3, NO_LOGIN, ["version", "--dsn={ordinary without password}"], {"PGPASSWORD": SECRET}),
    "wrong database": Case(3, 'database "nosuch" does not exist', ["migrate", "--dsn={here} dbname=nosuch"]),
    "unreadable DSN": Case(2, f"--dsn {AMBIGUOUS}", ["migrate", f"--dsn={HALF}"]),
    "unreadable region": Case(2, f"--cn {AMBIGUOUS}", ["status", f"--cn={HALF}", "--global={there}"]),
    "unreadable provider": Case(2, f"--provider-dsn {AMBIGUOUS}", join(provider_dsn=HALF)),
    "unreadable node": Case(2, f"--node-dsn {AMBIGUOUS}", join(node_dsn=HALF)),
    "unreadable admin": Case(2, f"--admin-dsn {AMBIGUOUS}", ["init", "--dsn={here}", f"--admin-dsn={HALF}"]),
    "DSN not in UTF-8": Case(2, "--dsn cannot be read", ["version", f"--dsn=postgresql://u:{SECRET}\udce9@h/account"]),
    "no DSN": Case(2, "no database given", ["version"]),
    "no region": Case(2, "no region given", ["status"]),
    "one region of two": Case(2, "2 regions are needed, 1 given", ["migrate", "--cn={here}"]),
    "unknown mode": Case(2, "unknown mode 'both'", ["init", "--dsn={here}", "--mode=both"]),
    "unknown mode in make": Case(2, "unknown mode 'both'", ["init", "--dsn={here}"], {"REPLICATION_MODE": "both"}),
    "unknown mode to join": Case(2, "unknown mode 'both'", join(mode="both")),
    "mode without streams": Case(2, "mode pgsync has no streams", join(mode="pgsync")),
    "unknown option": Case(2, "No such option: --frobnicate", ["migrate", "--frobnicate"]),
    "unknown command": Case(2, "No such command 'frobnicate'", ["frobnicate"]),
    "missing option": Case(2, "Missing option '--node'", ["region", "join", "--dsn={here}"]),
    "DSN without its option": Case(2, "unexpected extra argument", ["version", HALF]),
    "DSN as a number": Case(2, "Invalid value for '--to'", ["migrate", f"--to={HALF}"]),
    "node without a name": Case(2, "--node takes NAME=DSN", ["status", f"--node={NOWHERE}?sslmode=disable"]),
    "node without a DSN": Case(2, "--node takes NAME=DSN", ["status", "--node=node_cn"]),
    "node twice": Case(2, "--node names a twice", ["status", "--node=a={here}", "--node=a={there}"]),
    "unreadable node DSN": Case(2, f"--node a {AMBIGUOUS}", ["status", f"--node=a={HALF}", "--node=b={there}"]),
    "unknown role": Case(2, "role nobody_here does not exist", ["init", "--dsn={here}", "--grant-to=nobody_here"]),
    "reset without --yes": Case(4, "--yes allows it", ["reset", "--dsn={ordinary}"]),
    "join to itself": Case(4, "lead to the same database", join(provider_dsn="{here}")),
    "join to itself by name": Case(4, "lead to the same database", join(provider_dsn="{here} host=localhost")),
    "join without extension": Case(3, "this region: extension pglogical is missing", join(mode="pglogical")),
    "join as ordinary role": Case(3, "GRANT pg_create_subscription TO account", join(dsn="{ordinary}")),
    "join as the provider": Case(2, "node_there", join(node="node_there")),
    "join without a name": Case(2, "--node", join(node="")),
    "join as nothing": Case(2, "--subscription", join(subscription="")),
    "pause nothing": Case(2, "this region has no subscription", ["region", "pause", "--dsn={here}"]),
    "leave nothing": Case(2, "no subscription x here", ["region", "leave", "--dsn={here}", "--subscription=x"]),
    "user without a password": Case(2, "password is missing", ["create-user", "--dsn={here}", "--user=x"]),
    "user by one who may not": Case(
        3, "role account may not make roles", ["create-user", "--dsn={ordinary}", "--user=x"], {"DB_PASS": SECRET}
    ),
    "user with a reserved name": Case(
        3, 'role name "pg_x" is reserved', ["create-user", "--dsn={here}", "--user=pg_x"], {"DB_PASS": SECRET}
    ),
    "admin without a name": Case(2, "DB_ADMIN_USER is not", ["init", "--dsn={here}"], {"DB_ADMIN_PASS": SECRET}),
    "no schema file": Case(2, "--schema /no/such", ["verify", "--dsn={here}", "--schema=/no/such"]),
    "no job file": Case(2, "no such file", ["--config=/no/such"], program="pgsync"),
}


@pytest.fixture(scope="module")
def outcomes(databases: Databases, native_lab: Lab) -> dict[str, Outcome]:
    """All cases, run by two threads with a pair each; one that changes its pair spoils no other."""
    pairs: SimpleQueue[Pair] = SimpleQueue()
    owner_dsn = native_lab.region("cn").app_dsn
    for _ in range(2):
        pairs.put(make_pair(databases, owner_dsn))

    def run(case: Case) -> Outcome:
        pair = pairs.get()
        outcome = tried(pair, *case.arguments, program=case.program, **case.env)
        if outcome.changed:
            forget(pair)
            pair = make_pair(databases, owner_dsn)
        pairs.put(pair)
        return outcome

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CASES, pool.map(run, CASES.values()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_told_in_one_line_and_changes_nothing(outcomes: dict[str, Outcome], name: str) -> None:
    assert_refused(outcomes[name], CASES[name].status, CASES[name].fact)


TRIGGERS = """;
    CREATE TRIGGER a BEFORE UPDATE ON public.notes FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
    CREATE TRIGGER b BEFORE UPDATE ON public.notes FOR EACH ROW EXECUTE FUNCTION public.bump_version()
"""


@pytest.mark.parametrize(
    ("made", "status", "fact"),
    [
        ("CREATE TABLE public.notes (body text)", 4, "public.notes: its primary key is (none), not (uuid)"),
        (f"CREATE TABLE public.notes ({CONTRACT})", 4, "no BEFORE UPDATE trigger calls set_updated_at()"),
        (
            f"CREATE TABLE public.notes ({CONTRACT}, id bigserial){TRIGGERS}",
            4,
            "public.notes: column id takes its value from a sequence",
        ),
        (f"CREATE TABLE public.notes ({CONTRACT}){TRIGGERS}", 3, "table public.notes: missing"),
        ("ALTER TABLE public.users ADD COLUMN nick text", 3, "differ in structure: column public.users.nick: missing"),
        (
            "ALTER TABLE public.users ALTER COLUMN level TYPE bigint",
            3,
            "column public.users.level: type bigint -> integer",
        ),
    ],
    ids=["no key", "no triggers", "sequence", "table", "column", "type"],
)
def test_a_table_that_does_not_fit_stops_a_join(own_pair: Pair, made: str, status: int, fact: str) -> None:
    run_sql(own_pair.here, made)
    refused(own_pair, status, fact, *join())


def test_a_provider_without_account_tables_stops_a_join(own_pair: Pair, databases: Databases) -> None:
    empty = Pair(own_pair.here, databases.empty(), own_pair.ordinary)
    refused(empty, 3, "the two regions differ in structure", *join())


def test_a_region_without_the_extension_is_told_so_and_can_be_used(own_pair: Pair) -> None:
    init(InitRequest(own_pair.here, Mode.PGLOGICAL))  # it warns that the extension is not there
    refused(own_pair, 3, "this region: extension pglogical is missing", *join())
    assert run_command("migratectl", "reset", "--yes", f"--dsn={own_pair.here}").returncode == 0
    assert run_command("migratectl", "init", "--mode=native", f"--dsn={own_pair.here}").returncode == 0


def test_a_slot_of_another_database_is_not_taken_over(own_pair: Pair, databases: Databases) -> None:
    init(InitRequest(own_pair.there, Mode.NATIVE))
    run_sql(own_pair.there, "CREATE PUBLICATION rep_all")  # the provider has joined
    other = databases.empty()
    run_sql(other, "SELECT pg_create_logical_replication_slot('node_here_taken', 'pgoutput')")
    try:
        refused(own_pair, 3, "replication slot node_here_taken on the provider", *join(subscription="taken"))
    finally:
        forget(own_pair)
        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
        run_sql(other, drop, "node_here_taken")


@pytest.mark.parametrize("option", ["node", "subscription"])
def test_a_name_that_postgresql_would_cut_is_refused(own_pair: Pair, option: str) -> None:
    refused(own_pair, 2, f"--{option}", *join(**{option: "表" * 22}))


def test_a_role_without_rights_is_told_what_to_ask_for(own_pair: Pair, databases: Databases) -> None:
    empty = databases.empty()
    run_sql(empty, f"CREATE ROLE stranger LOGIN PASSWORD '{SECRET}'")
    stranger = Pair(own_pair.here, empty, with_params(empty, user="stranger", password=SECRET))
    for command in ("migrate", "init"):
        refused(stranger, 3, "permission denied for database", command, "--dsn={ordinary}")


def test_a_server_with_too_little_says_everything_that_it_lacks(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = {"wal_level": "replica", "max_replication_slots": "1", "max_worker_processes": "1"}
    poor = make_lab(tmp_path_factory.mktemp("poor") / "lab", "native", settings)
    try:
        region = poor.region("cn")
        run_sql(region.admin_dsn, "SELECT pg_create_physical_replication_slot('taken')")
        pair = make_pair(Databases(region.admin_dsn), region.app_dsn)
        for side in ("this region", "provider"):
            refused(pair, 3, f"  - {side}: wal_level is replica; set wal_level = logical and restart", *join())
        refused(pair, 3, "this region: 1 of 1 replication slots are taken; raise max_replication_slots", *join())
        refused(pair, 3, "this region: only 1 worker processes are allowed", *join())
    finally:
        poor.down()


@pytest.mark.pglogical
def test_native_mode_on_postgresql_15_is_refused(databases_15: Databases, pglogical_lab: Lab) -> None:
    pair = make_pair(databases_15, pglogical_lab.region("cn").app_dsn, Mode.PGSYNC)
    refused(pair, 2, "mode native needs PostgreSQL 16 or later", "init", "--dsn={here}", "--mode=native")
    refused(pair, 3, "native mode needs 16 or later", *join(mode="native"))
    refused(pair, 2, "this region was not prepared for streams", *join())
