"""A lab in use: what it offers, breaking and healing, on real servers."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from accountdb import lab
from accountdb.errors import AccountdbError, UsageError
from accountdb.lab import account, binaries, ports
from accountdb.lab.server import PortTakenError, Server, ServerSpec
from tests.conftest import eventually

pytestmark = pytest.mark.timeout(120)

Connection = psycopg.Connection[tuple[Any, ...]]


def connect(dsn: str) -> Connection:
    return psycopg.connect(dsn, autocommit=True, connect_timeout=5)


def one(dsn_or_conn: str | Connection, query: str) -> Any:
    """The first value of a query's only row."""
    if isinstance(dsn_or_conn, str):
        with connect(dsn_or_conn) as conn:
            return one(conn, query)
    row = dsn_or_conn.execute(query.encode()).fetchone()
    return row[0] if row else None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Lab]:
    folder = tmp_path_factory.mktemp("lab") / "here"
    yield lab.up(folder, "native", owner_pid=os.getpid(), settings={"work_mem": "5MB"}).keep()
    assert lab.down(folder).was_running


@pytest.fixture(autouse=True)
def _whole(request: pytest.FixtureRequest) -> None:
    """Every test gets the shared lab with a working link and both servers."""
    if "running" in request.fixturenames:
        shared = request.getfixturevalue("running")
        shared.heal()
        shared.latency(0)
        for region in lab.REGIONS:
            shared.resume(region)
            shared.start(region)


def test_each_region_has_what_was_promised(running: lab.Lab) -> None:
    identities = set()
    for region in running.regions:
        with connect(region.admin_dsn) as admin:
            identities.add(one(admin, "SELECT system_identifier FROM pg_control_system()"))
            assert one(admin, "SELECT usesuper FROM pg_user WHERE usename = current_user") is True
            for name, value in {
                "wal_level": "logical",
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": "",
                "track_commit_timestamp": "on",
                "server_encoding": "UTF8",
                "shared_buffers": "128MB",
                "work_mem": "5MB",
            }.items():
                assert one(admin, f"SHOW {name}") == value
        with connect(region.app_dsn) as app:
            rights = "rolsuper OR rolreplication OR rolcreaterole OR rolcreatedb OR rolbypassrls"
            assert one(app, f"SELECT {rights} FROM pg_roles WHERE rolname = current_user") is False
            assert (
                one(app, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
                == "account"
            )
            assert one(app, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
            assert one(app, "SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C.UTF-8"
            app.execute("CREATE TABLE t (x int)")
            app.execute("DROP TABLE t")
    assert len(identities) == 2


def test_a_wrong_password_is_refused(running: lab.Lab) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(running.region("cn").admin_dsn.replace("postgres:", "postgres:x"))


def test_environment_names_every_way_in(running: lab.Lab) -> None:
    env = running.env()
    assert sorted(env) == ["CN_APP_DSN", "CN_DSN", "CN_LINK_DSN", "GLOBAL_APP_DSN", "GLOBAL_DSN", "GLOBAL_LINK_DSN"]
    assert len({one(dsn, "SELECT current_user || inet_server_port()") for dsn in env.values()}) == 4
    assert one(env["CN_LINK_DSN"], "SELECT inet_server_port()") == running.region("cn").port


def test_log_is_one_file_and_holds_no_password(running: lab.Lab) -> None:
    region = running.region("cn")
    with connect(region.admin_dsn) as admin, pytest.raises(psycopg.errors.DivisionByZero):
        admin.execute("SELECT 1/0 AS find_me")
    eventually(lambda: "find_me" in region.log_file.read_text(encoding="utf-8"))
    text = region.log_file.read_text(encoding="utf-8")
    assert "division by zero" in text
    assert not any(dsn.split(":")[2].split("@")[0] in text for dsn in running.env().values())


def test_nothing_that_is_shown_holds_a_password(running: lab.Lab) -> None:
    secrets = {dsn.split(":")[2].split("@")[0] for dsn in running.env().values()}
    shown = repr((running, running.regions, running.status(), running.state))
    titles = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert len(secrets) == 4
    assert not any(secret in shown or secret in titles for secret in secrets)


def test_up_again_is_the_same_lab(running: lab.Lab) -> None:
    again = lab.up(running.dir, "native")
    assert not again.started
    assert again.keep() == running == lab.find(running.dir)
    with lab.up(running.dir, "native"):
        pass
    assert running.status().keeper_pid == running.keeper_pid


def test_up_with_another_mode_is_an_error(running: lab.Lab) -> None:
    with pytest.raises(UsageError, match="mode native runs at"):
        lab.up(running.dir, "pgsync")


def test_cut_breaks_the_link_and_only_the_link(running: lab.Lab) -> None:
    region = running.region("global")
    with connect(region.app_dsn) as direct, connect(region.link_dsn) as linked:
        assert one(linked, "SELECT 1") == 1
        assert running.status().regions[1].link_connections == 1
        status = running.cut()
        assert (status.link, running.cut().link) == ("cut", "cut")
        with pytest.raises(psycopg.OperationalError):
            linked.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="refused"):
            connect(region.link_dsn)
        assert one(direct, "SELECT 1") == 1
        assert one(region.app_dsn, "SELECT 1") == 1
        assert (running.heal().link, running.heal().link) == ("up", "up")
        assert one(region.link_dsn, "SELECT 1") == 1


def test_the_server_notices_a_cut_at_once(running: lab.Lab) -> None:
    region = running.region("cn")
    with connect(region.link_dsn) as linked, connect(region.admin_dsn) as admin:
        pid = linked.info.backend_pid
        running.cut()
        eventually(lambda: one(admin, f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}") == 0, within_s=5)


def test_hang_passes_no_byte_until_healed(running: lab.Lab) -> None:
    with connect(running.region("cn").link_dsn) as linked:
        answers: list[Any] = []
        assert running.cut(hang=True).link == "hang"
        asking = threading.Thread(target=lambda: answers.append(one(linked, "SELECT 7")))
        asking.start()
        asking.join(0.5)
        assert answers == []
        running.heal()
        asking.join(20)
        assert answers == [7]


def test_latency_is_one_way(running: lab.Lab) -> None:
    with connect(running.region("cn").link_dsn) as linked:
        assert running.latency(50).latency_ms == 50
        start = time.monotonic()
        one(linked, "SELECT 1")
        assert time.monotonic() - start >= 0.1
    for wrong in (-1, float("nan"), 1e9):
        with pytest.raises(UsageError):
            running.latency(wrong)


def test_replication_breaks_and_mends_with_the_link(running: lab.Lab) -> None:
    """The link carries what it is made for: a native subscription."""
    cn, world = running.region("cn"), running.region("global")
    with connect(cn.admin_dsn) as source, connect(world.admin_dsn) as target:
        for conn in (source, target):
            conn.execute("CREATE TABLE followed (id int PRIMARY KEY)")
        source.execute("CREATE PUBLICATION p FOR TABLE followed")
        target.execute(f"CREATE SUBSCRIPTION s CONNECTION '{cn.link_dsn}' PUBLICATION p".encode())
        count = "SELECT count(*) FROM followed"
        source.execute("INSERT INTO followed VALUES (1)")
        eventually(lambda: one(target, count) == 1)
        running.cut()
        eventually(lambda: one(source, "SELECT count(*) FROM pg_stat_replication") == 0)
        source.execute("INSERT INTO followed VALUES (2)")
        assert one(target, count) == 1
        running.heal()
        eventually(lambda: one(target, count) == 2)
        target.execute("DROP SUBSCRIPTION s")
        for conn in (source, target):
            conn.execute("DROP TABLE followed")
        source.execute("DROP PUBLICATION p")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_comes_back_with_its_data_and_port(running: lab.Lab, how: str) -> None:
    region = running.region("cn")
    with connect(region.app_dsn) as app:
        app.execute("CREATE TABLE kept AS SELECT 1 AS x")
        before = running.status().regions[0].pid
        end = running.stop if how == "stop" else running.kill
        for _ in range(2):
            gone = end("cn").regions[0]
            assert (gone.server, gone.pid) == ("stopped" if how == "stop" else "crashed", None)
        with pytest.raises(psycopg.OperationalError):
            app.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect(region.app_dsn)
    assert one(running.region("global").app_dsn, "SELECT 1") == 1
    for _ in range(2):
        back = running.start("cn").regions[0]
        assert (back.server, back.port) == ("running", region.port)
    assert back.pid != before
    assert one(region.app_dsn, "SELECT x FROM kept") == 1
    log = region.log_file.read_text(encoding="utf-8").rsplit("starting PostgreSQL", 1)[1]
    assert ("automatic recovery in progress" in log) is (how == "kill")
    with connect(region.app_dsn) as app:
        app.execute("DROP TABLE kept")


def test_a_postmaster_that_others_kill_is_seen_and_can_start(running: lab.Lab) -> None:
    pid = running.status().regions[1].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: running.status().regions[1].server == "crashed")
    assert running.start("global").regions[1].server == "running"
    assert one(running.region("global").app_dsn, "SELECT 1") == 1


def test_pause_holds_and_resume_lets_go(running: lab.Lab) -> None:
    region = running.region("cn")
    with connect(region.app_dsn) as app:
        answers: list[Any] = []
        assert [running.pause("cn").regions[0].server for _ in range(2)] == ["paused", "paused"]
        asking = threading.Thread(target=lambda: answers.append(one(app, "SELECT 7")))
        asking.start()
        asking.join(0.5)
        assert answers == []
        assert one(running.region("global").app_dsn, "SELECT 1") == 1
        assert [running.resume("cn").regions[0].server for _ in range(2)] == ["running", "running"]
        asking.join(20)
        assert answers == [7]


def test_what_is_not_running_cannot_be_paused(running: lab.Lab) -> None:
    running.stop("cn")
    with pytest.raises(AccountdbError, match="the server is stopped"):
        running.pause("cn")
    with pytest.raises(UsageError, match="'moon'"):
        running.stop("moon")


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    with pytest.raises(AccountdbError, match=r'region (cn|global).*"no_such_library"') as raised:
        lab.up(folder, "native", settings={"shared_preload_libraries": "no_such_library"})
    assert "\n" not in raised.value.message
    assert not folder.exists()


def test_a_port_that_is_taken_is_given_up_for_another(tmp_path: Path) -> None:
    who = account.choose()
    root = Path("/var/tmp") / f"accountdb-lab-test-{os.getpid()}"
    root.mkdir(mode=0o700)
    account.give(root, who)

    async def run(server: Server) -> int:
        try:
            await server.create()
            await server.first_start()
            return server.port
        finally:
            await server.destroy()

    with ports.reserve() as first, ports.reserve() as second:
        taken = [first, second]
        listeners = [ports.listener(held.getsockname()[1], 1) for held in taken]
        offered: list[socket.socket] = [*map(socket.socket.dup, taken), ports.reserve()]
        wanted = offered[-1].getsockname()[1]
        spec = ServerSpec("cn", "native", binaries.find("native"), who, root, "a", "b")
        try:
            assert asyncio.run(run(Server(spec, lambda: offered.pop(0)))) == wanted
            always = [first.dup() for _ in range(3)]
            with pytest.raises(PortTakenError, match="Address already in use"):
                asyncio.run(run(Server(spec, lambda: always.pop(0))))
        finally:
            shutil.rmtree(root)
            for listener in listeners:
                listener.close()


def test_two_ups_at_once_make_one_lab(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from accountdb import lab\n"
        "pending = lab.up(Path(sys.argv[1]), 'native'); print(pending.started, pending.keep().keeper_pid)"
    )
    folder = tmp_path / "lab"
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [racer.communicate(timeout=90)[0].split() for racer in racers]
    assert sorted(started for started, _ in said) == ["False", "False", "True"]
    assert len({pid for _, pid in said}) == 1
    assert lab.down(folder).was_running


def test_a_wrong_bin_dir_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no postgres"):
        lab.up(tmp_path / "lab", "native", bin_dir=tmp_path)
    with pytest.raises(UsageError, match="holds no postgres"):
        lab.up(tmp_path / "lab", "pglogical", bin_dir=tmp_path)
    assert not (tmp_path / "lab").exists()


def _pglogical_missing() -> str:
    try:
        binaries.find("pglogical")
    except AccountdbError as error:
        return f"NOT TESTED: {error.message}; {error.hint}"
    return ""


@pytest.mark.pglogical
@pytest.mark.skipif(bool(_pglogical_missing()), reason=_pglogical_missing())
def test_pglogical_is_loaded_and_replicates_through_the_link(tmp_path: Path) -> None:
    with lab.up(tmp_path / "lab", "pglogical") as pending:
        cn, world = pending.lab.regions
        with connect(cn.admin_dsn) as source, connect(world.admin_dsn) as target:
            assert one(source, "SHOW shared_preload_libraries") == "pglogical"
            assert one(source, "SHOW pglogical.conflict_resolution") == "apply_remote"
            for conn, region in ((source, cn), (target, world)):
                conn.execute("CREATE EXTENSION pglogical")
                conn.execute("CREATE TABLE followed (id int PRIMARY KEY)")
                conn.execute(
                    "SELECT pglogical.create_node(node_name := %s, dsn := %s)", (f"n_{region.name}", region.link_dsn)
                )
            source.execute("SELECT pglogical.replication_set_add_table('default', 'followed')")
            target.execute(
                "SELECT pglogical.create_subscription(subscription_name := 's', provider_dsn := %s,"
                " synchronize_structure := false, synchronize_data := false)",
                (cn.link_dsn,),
            )
            slots = "SELECT count(*) FROM pg_replication_slots WHERE active"
            eventually(lambda: one(source, slots) == 1, within_s=60)
            source.execute("INSERT INTO followed VALUES (1)")
            eventually(lambda: one(target, "SELECT count(*) FROM followed") == 1, within_s=60)
            pending.lab.cut()
            eventually(lambda: one(source, slots) == 0)


@pytest.mark.pglogical
@pytest.mark.skipif(bool(_pglogical_missing()), reason=_pglogical_missing())
def test_a_server_that_is_too_old_for_native_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs 16 or later"):
        lab.up(tmp_path / "lab", "native", bin_dir=binaries.PGLOGICAL_BIN_DIR)
