"""Two regions that stream and are written migrate together: no stream stops, no acknowledged write is lost."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from accountdb.drift.verify import compare_regions
from accountdb.lab import Lab
from accountdb.migrations.locks import LOCK_KEY
from accountdb.pg.connect import connect
from proof.stepping import Orders
from proof.striking import Striker
from tests.conftest import CONTRACT, eventually, migratectl, rows, run_sql, value, words_and_environment
from tests.integration.migrating import APART, write

TRIGGERS = "".join(
    f"CREATE TRIGGER trg_cards_{name} BEFORE UPDATE ON public.cards FOR EACH ROW EXECUTE FUNCTION public.{name}();"
    for name in ("set_updated_at", "bump_version")
)
CARDS = (
    f"CREATE TABLE public.cards ({CONTRACT}, number text,"
    f" user_uuid uuid REFERENCES public.users (uuid) ON DELETE CASCADE); {TRIGGERS}"
)
FILES = {
    "0001_expand.up.sql": f"ALTER TABLE public.users ADD COLUMN phone text NOT NULL DEFAULT 'none';{CARDS}",
    "0001_expand.down.sql": "DROP TABLE public.cards; ALTER TABLE public.users DROP COLUMN phone;",
    "0002_index.up.sql": APART + "CREATE INDEX CONCURRENTLY users_phone_idx ON public.users (phone);",
    "0002_index.down.sql": APART + "DROP INDEX CONCURRENTLY IF EXISTS public.users_phone_idx;",
    "0003_contract.up.sql": "ALTER TABLE public.users ADD CONSTRAINT phone_short CHECK (length(phone) < 20);"
    "ALTER TABLE public.users DROP COLUMN level;",
    "0003_contract.down.sql": "ALTER TABLE public.users ADD COLUMN level integer NOT NULL DEFAULT 0,"
    " DROP CONSTRAINT phone_short;",
}


@dataclass
class Writers:
    """Sessions that write in both regions until they are stopped. ``done`` are the users that were acknowledged."""

    lab: Lab
    done: list[str] = field(default_factory=list)
    turned_away: int = 0
    failed: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._write, args=(region.app_dsn,)) for region in self.lab.regions * 2]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _write(self, dsn: str) -> None:
        with connect(dsn, autocommit=True) as conn:
            while not self._over.wait(0.01):
                name = uuid4().hex
                try:
                    conn.execute(b"INSERT INTO users (username, password) VALUES (%s, 'x')", (name,))
                    self.done.append(name)
                    conn.execute(b"UPDATE users SET role = 'x' WHERE username = %s", (name,))
                except psycopg.errors.SerializationFailure:
                    self.turned_away += 1
                except psycopg.Error as error:
                    self.failed.append(str(error))


def migrate(lab: Lab, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    env = {"CN_DSN": lab.region("cn").admin_dsn, "GLOBAL_DSN": lab.region("global").admin_dsn}
    return migratectl("migrate", "--dir", str(folder), *more, env=env)


def equal(lab: Lab) -> bool:
    return migratectl("diff", "--settle", "10", env=lab.env()).returncode == 0


@pytest.fixture
def folder(ready_lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """The files; what they did is taken back after the test, also one that failed, by the files as it left them."""
    yield write(tmp_path / "m", FILES)
    taken_back = migrate(ready_lab, tmp_path / "m", "--to", "0", "--allow-down")
    assert taken_back.returncode == 0, taken_back.stderr
    assert "fence" not in taken_back.stderr


def test_what_adds_and_what_takes_away_under_writers(ready_lab: Lab, folder: Path) -> None:
    writers = Writers(ready_lab)
    cn, there = (ready_lab.region(name).admin_dsn for name in ("cn", "global"))
    with writers.at_work():
        eventually(lambda: len(writers.done) > 20)
        expanded = migrate(ready_lab, folder, "--to", "2")
        assert expanded.returncode == 0, expanded.stderr
        # What only adds makes nobody wait for a stream.
        assert "run dry" not in expanded.stderr
        assert writers.turned_away == 0
        so_far = len(writers.done)
        eventually(lambda: len(writers.done) > so_far + 20)
        contracted = migrate(ready_lab, folder, "--to", "3")
        assert contracted.returncode == 0, contracted.stderr
        assert "streams run dry before users change; writers of these are told to try again" in contracted.stderr
        so_far = len(writers.done)
        eventually(lambda: len(writers.done) > so_far + 20)
    assert writers.failed == []
    user = value(cn, "SELECT uuid FROM users LIMIT 1")
    run_sql(cn, "INSERT INTO cards (number, user_uuid) VALUES ('from cn', %s)", user)
    run_sql(there, "INSERT INTO cards (number) VALUES ('from global')")
    for dsn in (cn, there):
        eventually(lambda d=dsn: value(d, "SELECT count(*) FROM cards") == 2)  # type: ignore[misc]
        eventually(lambda d=dsn: set(writers.done) <= {n for (n,) in rows(d, "SELECT username FROM users")})  # type: ignore[misc]
    assert equal(ready_lab)
    status = migratectl("status", env=ready_lab.env())
    assert status.returncode == 0, status.stderr
    for dsn in (cn, there):
        assert value(dsn, "SELECT count(*) FROM pg_trigger WHERE tgname = 'accountdb_fence'") == 0
        assert value(dsn, "SELECT to_regprocedure('accountdb.fence()')") is None


@pytest.mark.parametrize(
    ("text", "message", "option"),
    [
        ("INSERT INTO public.users (username, password) VALUES ('m', 'x')", "writes rows of users", "--allow-data"),
        ("DO $$ BEGIN UPDATE public.users SET role = 'y'; END $$", "writes rows of users", "--allow-data"),
    ],
)
def test_rows_that_the_stream_carries_too_are_refused(
    ready_lab: Lab, folder: Path, text: str, message: str, option: str
) -> None:
    run_sql(ready_lab.region("cn").app_dsn, "INSERT INTO users (username, password) VALUES (%s, 'x')", uuid4().hex)
    eventually(lambda: value(ready_lab.region("global").app_dsn, "SELECT count(*) FROM users") > 0)
    write(folder, {"0001_expand.up.sql": text})
    refused = migrate(ready_lab, folder)
    assert refused.returncode == 4
    assert message in refused.stderr
    assert option in refused.stderr
    for region in ready_lab.regions:
        assert value(region.admin_dsn, "SELECT count(*) FROM accountdb.migration WHERE series = 'folder'") == 0


def test_an_upgrade_offers_what_accountdb_replicates_of_its_own(ready_lab: Lab) -> None:
    """Regions that were joined before there were beats."""
    env = {"CN_DSN": ready_lab.region("cn").admin_dsn, "GLOBAL_DSN": ready_lab.region("global").admin_dsn}
    down = migratectl("migrate", "--to", "4", "--allow-down", env=env)
    assert down.returncode == 0, down.stderr
    up = migratectl("migrate", env=env)
    assert up.returncode == 0, up.stderr
    for dsn in env.values():
        assert value(dsn, "SELECT accountdb.beat()")
    for dsn in env.values():
        eventually(lambda d=dsn: value(d, "SELECT count(DISTINCT node) FROM accountdb.heartbeat") == 2)  # type: ignore[misc]
    assert migratectl("status", env=ready_lab.env()).returncode == 0


def test_one_region_alone_is_refused(ready_lab: Lab, folder: Path) -> None:
    refused = migratectl("migrate", "--dsn", ready_lab.region("cn").admin_dsn, "--dir", str(folder))
    assert refused.returncode == 4
    assert "this region is joined" in refused.stderr
    assert "--allow-alone" in refused.stderr


def test_a_stream_that_does_not_run_dry_leaves_everything(ready_lab: Lab, folder: Path) -> None:
    there = ready_lab.region("global").admin_dsn
    assert migrate(ready_lab, folder, "--to", "2").returncode == 0
    assert migratectl("region", "pause", "--dsn", there).returncode == 0
    try:
        run_sql(ready_lab.region("cn").app_dsn, "INSERT INTO users (username, password) VALUES (%s, 'x')", uuid4().hex)
        failed = migrate(ready_lab, folder)
        assert failed.returncode == 3
        assert "global: sub_from_cn is disabled, so it cannot run dry first" in failed.stderr
        for region in ready_lab.regions:
            assert value(region.admin_dsn, "SELECT max(version) FROM accountdb.migration WHERE series = 'folder'") == 2
            assert value(region.admin_dsn, "SELECT count(*) FROM pg_trigger WHERE tgname = 'accountdb_fence'") == 0
        # What only adds needs no stream: it is applied when the stream is back.
        write(folder, {"0003_contract.up.sql": "ALTER TABLE public.users ADD COLUMN later text;"})
        write(folder, {"0003_contract.down.sql": "ALTER TABLE public.users DROP COLUMN later;"})
        assert migrate(ready_lab, folder).returncode == 0
    finally:
        assert migratectl("region", "resume", "--dsn", there).returncode == 0
    eventually(lambda: equal(ready_lab), what="equal rows")
    down = migrate(ready_lab, folder, "--to", "2", "--allow-down")
    assert down.returncode == 0, down.stderr


def test_killed_with_the_fence_up_writers_go_on_and_the_next_run_takes_it_down(ready_lab: Lab, folder: Path) -> None:
    assert migrate(ready_lab, folder, "--to", "2").returncode == 0
    there = ready_lab.region("global").admin_dsn
    ready_lab.cut()
    try:
        run_sql(ready_lab.region("cn").app_dsn, "INSERT INTO users (username, password) VALUES (%s, 'x')", uuid4().hex)
        env = {"CN_DSN": ready_lab.region("cn").admin_dsn, "GLOBAL_DSN": there}
        words, environment = words_and_environment("migratectl", ["migrate", "--dir", str(folder)], env)
        process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        fenced = "SELECT count(*) FROM pg_trigger WHERE tgname = 'accountdb_fence'"
        eventually(lambda: value(there, fenced) == 1)
        with pytest.raises(psycopg.errors.SerializationFailure, match="is being migrated in all regions"):
            run_sql(there, "INSERT INTO users (username, password) VALUES (%s, 'x')", uuid4().hex)
        process.kill()
        process.wait()
        insert = "INSERT INTO users (username, password) VALUES (%s, 'x') RETURNING username"
        eventually(lambda: value(there, insert, uuid4().hex), what="a write behind a dead fence")
        assert value(there, fenced) == 1
    finally:
        ready_lab.heal()
        for region in ready_lab.regions:
            assert migratectl("region", "resume", "--dsn", region.admin_dsn).returncode == 0
    done = migrate(ready_lab, folder)
    assert done.returncode == 0, done.stderr
    assert "global: a fence that an earlier run left on public.users is taken down" in done.stderr
    assert value(there, fenced) == 0
    eventually(lambda: equal(ready_lab), what="equal rows")


def test_killed_between_the_commits_rows_of_the_old_form_get_through(
    ready_lab: Lab, folder: Path, tmp_path: Path
) -> None:
    """One region has lost a column, got a constraint, and is sent rows that have the one and break the other."""
    cn, there = (ready_lab.region(name).admin_dsn for name in ("cn", "global"))
    assert migrate(ready_lab, folder, "--to", "2").returncode == 0
    contract = (
        "ALTER TABLE public.users DROP COLUMN level, ADD CONSTRAINT short CHECK (length(username) < 5) NOT VALID;"
    )
    back = FILES["0003_contract.down.sql"].replace("phone_short", "short") + CARDS
    write(folder, {"0003_contract.up.sql": contract + "DROP TABLE public.cards;", "0003_contract.down.sql": back})
    striker = Striker(tmp_path)
    ports = {int(str(conninfo_to_dict(dsn)["port"])): name for dsn, name in ((cn, "cn"), (there, "global"))}
    version = "SELECT max(version) FROM accountdb.migration WHERE series = 'folder'"
    words = ("migrate", "--cn", cn, "--global", there, "--dir", str(folder))
    at, tries = 0, 0
    while [value(dsn, version) for dsn in (cn, there)] != [3, 2]:
        at, tries = at + 1, tries + 1
        assert tries < 90
        if value(cn, version) == 3:
            # How many commits there are before depends on who waits for whom: back, and a little earlier.
            down = migrate(ready_lab, folder, "--to", "2", "--allow-down")
            assert down.returncode == 0, down.stderr
            at = max(at - 3, 1)
        striker.run(Orders("migratectl", words, "kill", at, "global: commit_gen", False, ports), lambda _: None)
        for region in ready_lab.regions:
            # A server that has not noticed the death yet would make the next run wait, and count other steps.
            eventually(lambda r=region: value(r.admin_dsn, "SELECT pg_try_advisory_lock(%s)", LOCK_KEY))  # type: ignore[misc]
    # What global acknowledges now has a form that cn does not take any more.
    name = uuid4().hex
    user = value(there, "INSERT INTO users (username, password, level) VALUES (%s, 'x', 7) RETURNING uuid", name)
    run_sql(there, "INSERT INTO cards (number, user_uuid) VALUES ('late', %s)", user)
    done = migrate(ready_lab, folder)
    assert done.returncode == 0, done.stderr
    assert "cn: takes the old form again until its stream has run dry" in done.stderr
    assert [value(dsn, version) for dsn in (cn, there)] == [3, 3]
    eventually(lambda: value(cn, "SELECT count(*) FROM users WHERE username = %s", name) == 1, what="the late row")
    with connect(cn) as a, connect(there) as b:
        assert compare_regions(a, b) == []
    assert value(cn, "SELECT to_regclass('public.cards')") is None
    eventually(lambda: equal(ready_lab), what="equal rows")
    assert migratectl("status", env=ready_lab.env()).returncode == 0


@pytest.mark.parametrize("every", [131, pytest.param(3, marks=pytest.mark.by_hand)])
def test_killed_at_every_step_under_writers_no_stream_stops_and_nothing_is_lost(
    ready_lab: Lab, folder: Path, tmp_path: Path, every: int
) -> None:
    """Up and down in turn, killed further and further in, and always finished by the same command again."""
    cn, there = (ready_lab.region(name).admin_dsn for name in ("cn", "global"))
    assert migrate(ready_lab, folder, "--to", "2").returncode == 0
    striker, writers = Striker(tmp_path), Writers(ready_lab)
    words = ("migrate", "--cn", cn, "--global", there, "--dir", str(folder), "--allow-down", "--to")
    at, deaths, up, alive = every, 0, True, 0
    with writers.at_work():
        while alive < 2:
            to = "3" if up else "2"
            ended = striker.run(Orders("migratectl", (*words, to), "kill", at, "", False, {}), lambda _: None)
            again = migrate(ready_lab, folder, "--to", to, "--allow-down")
            assert again.returncode == 0, (at, to, again.stderr)
            deaths += ended.reached is not None
            alive = 0 if ended.reached else alive + 1
            at, up = at + every, not up
    assert deaths >= 500 // every
    assert writers.failed == []
    for dsn in (cn, there):
        eventually(lambda d=dsn: set(writers.done) <= {n for (n,) in rows(d, "SELECT username FROM users")})  # type: ignore[misc]
    assert equal(ready_lab)
    assert migratectl("status", env=ready_lab.env()).returncode == 0


def test_rows_that_are_under_way_get_through_before_their_column_goes(ready_lab: Lab, folder: Path) -> None:
    assert migrate(ready_lab, folder, "--to", "2").returncode == 0
    names = {region.name: uuid4().hex for region in ready_lab.regions}
    ready_lab.cut()
    try:
        for region in ready_lab.regions:
            insert = "INSERT INTO users (username, password, level) VALUES (%s, 'x', 7)"
            run_sql(region.app_dsn, insert, names[region.name])
        env = {"CN_DSN": ready_lab.region("cn").admin_dsn, "GLOBAL_DSN": ready_lab.region("global").admin_dsn}
        words, environment = words_and_environment("migratectl", ["migrate", "--dir", str(folder)], env)
        process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
        fenced = "SELECT count(*) FROM pg_trigger WHERE tgname = 'accountdb_fence'"
        eventually(lambda: all(value(region.admin_dsn, fenced) for region in ready_lab.regions), what="the fence")
    finally:
        ready_lab.heal()
        for region in ready_lab.regions:
            assert migratectl("region", "resume", "--dsn", region.admin_dsn).returncode == 0
    assert process.wait(60) == 0
    for region in ready_lab.regions:
        there = "SELECT count(*) FROM users WHERE username = ANY (%s)"
        assert value(region.admin_dsn, there, list(names.values())) == 2
        assert value(region.admin_dsn, "SELECT max(version) FROM accountdb.migration WHERE series = 'folder'") == 3
    assert equal(ready_lab)
