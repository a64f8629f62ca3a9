"""Labs for all tests: real servers that end with this process, however it ends."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import sql

from accountdb import lab
from accountdb.lab import Lab, Mode
from accountdb.migrations import runner
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from tests import warm

BIN = Path(sys.executable).parent
PGLOGICAL_LIBRARY = Path("/usr/lib/postgresql/15/lib/pglogical.so")
# What a table of a test's own needs to be under the row contract, but for its triggers.
CONTRACT = """
    uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    version bigint NOT NULL DEFAULT 0,
    origin_node text NOT NULL DEFAULT accountdb.node_name()
"""

T = TypeVar("T")
_NUMBERS = itertools.count()


def pytest_report_header() -> list[str]:
    """Say at the top what will be skipped on this machine."""
    found = (
        ["pglogical: PostgreSQL 15 with pglogical is here"]
        if PGLOGICAL_LIBRARY.exists()
        else ["pglogical: NOT INSTALLED, its tests are SKIPPED (apt-get install postgresql-15-pglogical)"]
    )
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        found.append(
            "Chromium: NOT INSTALLED, the tests of the dashboard in a browser are SKIPPED (apt-get install chromium)"
        )
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--all``: what `make test-all` runs and `make test` does not."""
    parser.addoption("--all", action="store_true", help="run the cases that are marked by_hand too")


def by_hand(item: pytest.Item) -> bool:
    """Whether a case is left to `make test-all`: what is marked so, or that with these parameters is."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    wanted = [marker.kwargs for marker in item.iter_markers("by_hand")]
    return any(all(params.get(name) == value for name, value in one.items()) for one in wanted)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the soak around all else, and skip pglogical where it is not to be had (-ra shows the reason)."""
    if not config.getoption("--all"):
        left_out = [item for item in items if by_hand(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    items.sort(
        key=lambda item: (item.get_closest_marker("last") is not None) - (item.get_closest_marker("first") is not None)
    )
    if PGLOGICAL_LIBRARY.exists():
        return
    skip = pytest.mark.skip(reason="SKIPPED: PostgreSQL 15 with pglogical is not installed on this machine")
    for item in items:
        if item.get_closest_marker("pglogical"):
            item.add_marker(skip)


def make_lab(folder: Path, mode: Mode, settings: dict[str, str] | None = None, regions: int = 2) -> Lab:
    """A lab that is gone with this process, also when it is killed."""
    return lab.up(folder, mode, owner_pid=os.getpid(), settings=settings, regions=regions).keep()


class Labs:
    """Labs that are made when they are first asked for, one of a mode, and stay until they are closed."""

    def __init__(
        self, folders: pytest.TempPathFactory, name: str, prepare: Callable[[Lab], None], regions: int = 2
    ) -> None:
        """``prepare`` is done to each new one."""
        self._folders, self._name, self._prepare, self._regions = folders, name, prepare, regions
        self._made: dict[Mode, Lab] = {}

    def of(self, mode: Mode) -> Lab:
        """The one of this mode."""
        if mode not in self._made:
            folder = self._folders.mktemp(f"{self._name}-{mode}") / "lab"
            self._made[mode] = make_lab(folder, mode, regions=self._regions)
            self._prepare(self._made[mode])
        return self._made[mode]

    def close(self) -> None:
        """End them all."""
        for one in self._made.values():
            one.down()


def eventually(probe: Callable[[], T], *, within_s: float = 30.0, what: str = "the state") -> T:
    """Poll ``probe`` until it is true and return its value. AssertionErrors inside it count as false."""
    deadline = time.monotonic() + within_s
    last: BaseException | None = None
    # Most states come at once. One that takes longer leaves the processor to those that it is waited for.
    step_s = 0.02
    while True:
        try:
            value = probe()
            if value:
                return value
        except (AssertionError, psycopg.Error) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {within_s} s") from last
        time.sleep(step_s)
        step_s = min(step_s * 1.2, 0.1)


def words_and_environment(
    program: str, arguments: Iterable[str], env: Mapping[str, str] | None
) -> tuple[list[str], dict[str, str]]:
    """A console script with its arguments, and its environment. The regions of this shell are not passed on."""
    regions = ("DB_URL", "REPLICATION_MODE", "ACCOUNTDB_REGIONS")
    clean = {k: v for k, v in os.environ.items() if not k.endswith("DSN") and k not in regions}
    return [str(BIN / program), *arguments], {**clean, **(env or {})}


def run_command(
    program: str, *arguments: str, env: dict[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a console script as a user would, but for the start of Python; see ``tests.warm``."""
    return warm.run(*words_and_environment(program, arguments, env), timeout_s)


def run_script(
    program: str, *arguments: str, env: dict[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a console script as a user would, from its very start."""
    words, environment = words_and_environment(program, arguments, env)
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)


def migratectl(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run migratectl as a user would, but for the start of Python."""
    return run_command("migratectl", *arguments, env=env)


def rows(dsn: str, query: str, *params: Any) -> list[tuple[Any, ...]]:
    """The rows of one query in a connection of its own."""
    with connect(dsn, autocommit=True) as conn:
        return list(conn.execute(query.encode(), params or None).fetchall())


def value(dsn: str, query: str, *params: Any) -> Any:
    """The one value of a query."""
    return rows(dsn, query, *params)[0][0]


def run_sql(dsn: str, statement: str, *params: Any) -> None:
    """One statement, committed, in a connection of its own."""
    with connect(dsn, autocommit=True) as conn:
        conn.execute(statement.encode(), params or None)


@pytest.fixture(scope="session")
def native_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two PostgreSQL 17 servers with an empty database each: tests make databases of their own on them."""
    running = make_lab(tmp_path_factory.mktemp("native") / "lab", "native")
    yield running
    running.down()


@pytest.fixture(scope="session")
def pglogical_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two PostgreSQL 15 servers with pglogical loaded, with an empty database each."""
    running = make_lab(tmp_path_factory.mktemp("pglogical") / "lab", "pglogical")
    yield running
    running.down()


class Databases:
    """Fresh databases on one server: empty ones, and clones of a migrated template."""

    def __init__(self, admin_dsn: str) -> None:
        """``admin_dsn`` leads to the server as a superuser."""
        self._admin = admin_dsn
        self._made: list[str] = []
        self._template: str | None = None

    def empty(self, owner: str = "account") -> str:
        """The DSN, as the superuser, of a new empty database that ``owner`` owns."""
        return self._create("template1", owner)

    def migrated(self) -> str:
        """The same with the newest schema, owned by the role ``account``."""
        if self._template is None:
            dsn = self._create("template1", "account")
            with connect(dsn) as conn:
                runner.migrate(conn)
            self._template = with_params(dsn)
        return self._create(psycopg.conninfo.conninfo_to_dict(self._template)["dbname"], "account")  # type: ignore[arg-type]

    def _create(self, template: str, owner: str) -> str:
        # Of all that this process makes: two of these may be on one server.
        name = f"t{os.getpid()}_{next(_NUMBERS)}"
        with connect(self._admin, autocommit=True) as conn:
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(template), sql.Identifier(owner)
                )
            )
        self._made.append(name)
        return with_params(self._admin, dbname=name)


@pytest.fixture(scope="session")
def databases(native_lab: Lab) -> Databases:
    """Databases on the CN server of the native lab."""
    return Databases(native_lab.region("cn").admin_dsn)


@pytest.fixture
def database(databases: Databases) -> str:
    """A fresh empty database (superuser DSN)."""
    return databases.empty()


@pytest.fixture
def migrated(databases: Databases) -> str:
    """A fresh database with the newest schema (superuser DSN)."""
    return databases.migrated()


def as_role(admin_dsn: str, role_dsn: str) -> str:
    """The database of ``admin_dsn`` with the user and password of ``role_dsn``."""
    role = psycopg.conninfo.conninfo_to_dict(role_dsn)
    return with_params(admin_dsn, user=str(role["user"]), password=str(role["password"]))
