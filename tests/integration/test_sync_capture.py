"""The change log of a source when somebody lays hands on it: what it lacks is found by comparing, never lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import psycopg
import pytest

from accountdb.lab import Lab
from accountdb.sync.capture import Capture
from accountdb.sync.limit import parse
from accountdb.sync.mirroring import Mirroring
from accountdb.sync.model import Receipt
from accountdb.sync.run import Run
from tests.conftest import Databases, as_role, run_sql, value
from tests.integration.syncing import Follow, follow

_numbers = count()


@dataclass(frozen=True)
class Logged:
    """One table, which a job of its own syncs by its log."""

    pair: Follow
    table: str

    def change(self, text: str) -> None:
        """Every kind of change, of other rows each time."""
        self.pair.here(
            f"INSERT INTO {self.table} SELECT max(id) + 100, %s FROM {self.table}",
            text,
        )
        self.pair.here(f"UPDATE {self.table} SET v = %s WHERE id = (SELECT min(id) FROM {self.table})", text)
        self.pair.here(
            f"DELETE FROM {self.table} WHERE id IN (SELECT id FROM {self.table} ORDER BY id LIMIT 1 OFFSET 1)"
        )

    def here(self, statement: str) -> None:
        """A statement of the source; ``{t}`` is the table."""
        self.pair.here(statement.replace("{t}", self.table))

    def sync(self) -> Receipt:
        """One pass, after which both sides are equal."""
        receipt = self.pair.sync(self.table, max_delete=parse("100%"))
        self.pair.assert_equal(self.table)
        return receipt

    @property
    def capture(self) -> str:
        """How the last pass has learned what changed."""
        query = "SELECT capture FROM accountdb.sync_watermark WHERE job = %s"
        return str(value(self.pair.target, query, self.table))

    def assert_settled(self) -> None:
        """Installed again, if need be, the log serves again, and alone."""
        self.pair.logged()
        self.sync()
        self.change("settled")
        assert not self.sync().full
        assert self.capture == Capture.LOG


@pytest.fixture(scope="module")
def databases_of_two(databases: Databases, native_lab: Lab) -> Follow:
    return follow(databases, native_lab)


@pytest.fixture
def logged(databases_of_two: Follow) -> Iterator[Logged]:
    """A table of ten rows that was synced twice."""
    pair = databases_of_two
    table = f"item{next(_numbers)}"
    pair.both(f"CREATE TABLE public.{table} (id integer PRIMARY KEY, v text)")
    pair.here(f"INSERT INTO {table} SELECT n, 'old' FROM generate_series(1, 10) AS n")
    found = Logged(pair.of(table).logged(), table)
    assert found.sync().full
    found.change("first")
    assert not found.sync().full
    assert found.capture == Capture.LOG
    yield found
    pair.both(f"DROP TABLE {table}")


ON = "ALTER TABLE {t} ENABLE ALWAYS TRIGGER accountdb_capture, ENABLE ALWAYS TRIGGER accountdb_capture_truncate"
# What somebody does, and undoes, between two passes; and whether to install it again is part of the undoing.
MEDDLING = {
    "trigger off": ("ALTER TABLE {t} DISABLE TRIGGER accountdb_capture", ON, False),
    "all triggers off": ("ALTER TABLE {t} DISABLE TRIGGER ALL", "ALTER TABLE {t} ENABLE TRIGGER ALL", False),
    "all triggers off, and on by hand": ("ALTER TABLE {t} DISABLE TRIGGER ALL", ON, False),
    "trigger dropped": ("DROP TRIGGER accountdb_capture ON {t}", "SELECT", True),
    "triggers dropped": (
        "DROP TRIGGER accountdb_capture ON {t}; DROP TRIGGER accountdb_capture_truncate ON {t}",
        "SELECT",
        True,
    ),
    "readers dropped": ("DROP TABLE accountdb.change_reader", "SELECT", True),
    "readers removed": ("DELETE FROM accountdb.change_reader; DELETE FROM accountdb.change_log", "SELECT", False),
    "all dropped": (
        "DROP TABLE accountdb.change_log, accountdb.change_reader, accountdb.change_capture CASCADE;"
        " DROP TRIGGER accountdb_capture ON {t}",
        "SELECT",
        True,
    ),
}


@pytest.mark.parametrize(
    ("what", "seen"), [*((what, False) for what in MEDDLING), ("trigger off", True), ("triggers dropped", True)]
)
def test_what_the_log_has_missed_arrives(logged: Logged, what: str, seen: bool) -> None:
    spoil, mend, install = MEDDLING[what]
    logged.change("before")
    logged.here(spoil)
    logged.change("meanwhile")
    if seen:
        logged.sync()
    logged.here(mend)
    if install:
        logged.pair.logged()
    logged.change("after")
    assert logged.sync().full == (install or not seen)
    logged.assert_settled()


def test_a_log_that_was_dropped_stops_the_writers_and_has_nothing_afterwards(logged: Logged) -> None:
    other = replace(logged, table=f"item{next(_numbers)}")
    other.pair.both(f"CREATE TABLE public.{other.table} (id integer PRIMARY KEY, v text)")
    other = replace(other, pair=other.pair.of(other.table).logged())
    other.here("INSERT INTO {t} VALUES (1, 'x'), (2, 'x')")
    other.sync()
    for one in (logged, other):
        one.change("before")
    logged.here("DROP TABLE accountdb.change_log")
    with pytest.raises(psycopg.errors.UndefinedTable):
        logged.change("nobody sees it")
    logged.pair.logged()
    for one in (logged, other):
        one.change("after")
        assert one.sync().full
    # Its own table was installed again, the other one's was not.
    assert (logged.capture, other.capture) == (Capture.LOG, Capture.XMIN)
    for one in (logged, other):
        one.assert_settled()


def test_the_log_is_kept_for_a_reader_until_somebody_lets_go_of_it(
    logged: Logged, databases: Databases, native_lab: Lab
) -> None:
    entries = f"SELECT count(*) FROM accountdb.change_log WHERE table_name = '{logged.table}'"
    target = as_role(databases.empty(), native_lab.region("cn").app_dsn)
    run_sql(target, f"CREATE TABLE public.{logged.table} (id integer PRIMARY KEY, v text)")
    second = replace(logged, pair=replace(logged.pair, target=target))
    logged.change("for both")
    for _ in range(3):
        second.sync()
    assert value(logged.pair.source, entries) > 0
    logged.here(
        "DELETE FROM accountdb.change_reader AS r USING (SELECT min(seen_at) AS seen_at FROM accountdb.change_reader"
        " WHERE table_name = '{t}') AS o WHERE r.table_name = '{t}' AND r.seen_at = o.seen_at"
    )
    second.sync()
    assert value(logged.pair.source, entries) == 0
    # It comes again after all.
    assert logged.sync().full
    logged.assert_settled()
    second.sync()
    assert (
        value(logged.pair.source, "SELECT count(*) FROM accountdb.change_reader WHERE table_name = %s", logged.table)
        == 2
    )


class Death(BaseException):
    """A pass that ends here, as if it were killed."""


@pytest.mark.parametrize(
    ("part", "place"), [(Mirroring, "_apply"), (Run, "purge")], ids=["before it is applied", "after it is applied"]
)
def test_passes_that_died_raise_no_false_alarm(
    logged: Logged, part: type, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source was told of what was never applied, or not told that it was: any number of times."""

    def die(*_: object) -> None:
        raise Death

    with monkeypatch.context() as patched:
        patched.setattr(part, place, die)
        for text in ("one", "two", "three"):
            logged.change(text)
            with pytest.raises(Death):
                logged.pair.sync(logged.table, max_delete=parse("100%"))
    assert not logged.sync().full
    logged.assert_settled()


def test_a_role_that_may_not_read_the_log_syncs_by_xmin(databases: Databases, native_lab: Lab) -> None:
    admins = [databases.empty() for _ in range(2)]
    owner = Follow(admins[0], admins[1]).of("t")
    owner.both("CREATE TABLE public.t (id integer PRIMARY KEY, v text)")
    owner.logged()
    owner.both("GRANT ALL ON public.t TO account")
    owner.here("INSERT INTO t VALUES (1, 'x')")
    source, target = (as_role(admin, native_lab.region("cn").app_dsn) for admin in admins)
    plain = Follow(source, target).of("t")
    for grant in (
        "SELECT",
        "GRANT USAGE ON SCHEMA accountdb TO account",
        "GRANT SELECT ON accountdb.change_log TO account",
    ):
        owner.here(grant)
        owner.here("UPDATE t SET v = v || 'y'")
        assert plain.sync(verify=True).verified
    assert value(target, "SELECT capture FROM accountdb.sync_watermark") == Capture.XMIN
