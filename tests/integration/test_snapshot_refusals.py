"""What export and import do not do: each in one line, with nothing written."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from accountdb.lab import Lab
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from tests.conftest import BIN, Databases, as_role, eventually, migratectl, rows, run_sql, value
from tests.integration.snapshots import bring, brought, content, counts, export, make_table, register, state

OF_IMPORT = (
    "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'migratectl'"
    " AND state <> 'idle' AND pid <> pg_backend_pid() AND query LIKE '%LOCK TABLE%'"
)
LAYOUTS = pytest.mark.parametrize("layout", ["yaml", "jsonl"])


@pytest.fixture(scope="module")
def full(databases: Databases) -> str:
    """A database with a few users."""
    dsn = databases.migrated()
    for number in range(5):
        register(dsn, number)
    return dsn


@pytest.fixture(scope="module")
def taken(full: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Its snapshot in both layouts."""
    folder = tmp_path_factory.mktemp("taken")
    for layout in ("yaml", "jsonl"):
        export(full, folder / f"s.{layout}")
    return {layout: (folder / f"s.{layout}").read_text() for layout in ("yaml", "jsonl")}


@pytest.fixture
def unwritten(full: str) -> Iterator[None]:
    """Nothing of the database is touched."""
    before = state(full)
    yield
    assert state(full) == before


def file_of(folder: Path, text: str) -> Path:
    file = folder / "snapshot"
    file.write_text(text)
    return file


@LAYOUTS
def test_a_snapshot_that_ends_early(
    full: str, taken: dict[str, str], tmp_path: Path, layout: str, unwritten: None
) -> None:
    text = taken[layout]
    for length in (len(text) - 2, text.index("end") + 10, len(text) // 2, text.index("\n", len(text) // 2) + 1):
        done = bring(full, file_of(tmp_path, text[:length]), "--merge", "--allow", "edited", status=3)
        assert "the snapshot ends early" in done.stderr


@LAYOUTS
def test_an_edited_snapshot(databases: Databases, taken: dict[str, str], tmp_path: Path, layout: str) -> None:
    dsn = databases.migrated()
    file = file_of(tmp_path, taken[layout].replace("u3@x.com", "new@x.com"))
    done = bring(dsn, file, status=4)
    assert "is not as it was written: its checksum is another one" in done.stderr
    assert "--allow edited" in done.stderr
    assert value(dsn, "SELECT count(*) FROM users") == 0
    bring(dsn, file, "--allow", "edited")
    assert rows(dsn, "SELECT username FROM users WHERE email = 'new@x.com'") == [("u3",)]


def test_a_row_taken_out_by_hand_is_told_with_its_table(
    full: str, taken: dict[str, str], tmp_path: Path, unwritten: None
) -> None:
    lines = [
        line for line in taken["jsonl"].splitlines() if '"admin_settings","row"' in line or '"u4@x.com"' not in line
    ]
    done = bring(full, file_of(tmp_path, "\n".join(lines) + "\n"), "--merge", status=4)
    assert "(users: 4 rows, 5 written)" in done.stderr


@LAYOUTS
def test_a_value_that_is_none_is_told_by_its_row(
    full: str, taken: dict[str, str], tmp_path: Path, layout: str, unwritten: None
) -> None:
    text = taken[layout]
    old, new = ('level: "20"', 'level: "x"') if layout == "yaml" else ('"level":"20"', '"level":"x"')
    start = text.index(old, text.index("u2@x.com"))
    file = file_of(tmp_path, text[:start] + new + text[start + len(old) :])
    done = bring(full, file, "--merge", "--allow", "edited", status=3)
    assert 'row 3 of users, column level: invalid input syntax for type integer: "x"' in done.stderr


@LAYOUTS
@pytest.mark.parametrize(("new", "said"), [("\\u0000", "a NUL character"), ("\\ud800", "")])
def test_what_no_text_can_hold(
    full: str, taken: dict[str, str], tmp_path: Path, layout: str, new: str, said: str, unwritten: None
) -> None:
    file = file_of(tmp_path, taken[layout].replace("u2@x.com", new))
    assert said in bring(full, file, "--merge", "--allow", "edited", status=3).stderr


def test_a_row_that_is_there_twice(full: str, taken: dict[str, str], tmp_path: Path, unwritten: None) -> None:
    lines = taken["jsonl"].splitlines(keepends=True)
    again = next(line for line in lines if "u2@x.com" in line)
    file = file_of(tmp_path, "".join([*lines[:-1], again, lines[-1]]))
    done = bring(full, file, "--merge", "--allow", "edited", status=3)
    assert "users has a row twice: Key (uuid)=(00000000-0000-4000-8000-000000000002)" in done.stderr


def test_another_structure_is_told_whole(databases: Databases, full: str, tmp_path: Path) -> None:
    export(full, tmp_path / "s.yaml")
    dsn = databases.migrated()
    make_table(dsn, "extra", "note text")
    run_sql(dsn, "DROP TABLE admin_settings")
    run_sql(dsn, "ALTER TABLE users DROP COLUMN role, ADD COLUMN nick text, ALTER COLUMN level TYPE bigint")
    run_sql(dsn, "ALTER TABLE sessions ALTER COLUMN token DROP NOT NULL")
    register(dsn, 9)
    before = state(dsn)
    done = bring(dsn, tmp_path / "s.yaml", "--merge", status=4)
    for difference in (
        "table extra is not in the snapshot",
        "table admin_settings is not in the database",
        "users.role is not in the database",
        "users.nick is not in the snapshot",
        "users.level is bigint NOT NULL, in the snapshot integer NOT NULL",
        "sessions.token is text, in the snapshot text NOT NULL",
    ):
        assert difference in done.stderr
    assert state(dsn) == before


@pytest.mark.parametrize("text", ["", "\n\n", "-- a dump\n", "{}\n", "a: b\n", "\x00\x01", "[" * 5000])
def test_another_file(full: str, tmp_path: Path, text: str, unwritten: None) -> None:
    done = bring(full, file_of(tmp_path, text), "--merge", status=3)
    assert "is not a snapshot" in done.stderr or "is empty" in done.stderr


def test_a_database_without_account_tables(database: str, full: str, tmp_path: Path) -> None:
    assert "there is no account table here" in export(database, tmp_path / "s", status=3).stderr
    export(full, tmp_path / "s")
    assert "there is no account table here" in bring(database, tmp_path / "s", status=3).stderr
    assert [one.name for one in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--merge-strategy", "append"], "--merge-strategy without --merge"),
        (["--merge", "--merge-strategy", "newest"], "unknown strategy 'newest'"),
        (["--merge-allowlist", "ann"], "--merge-allowlist 'ann' is not a uuid"),
        (["--allow", "anything"], "--allow 'anything' is not known"),
        (
            ["--merge", "--merge-allowlist", "00000000-0000-4000-8000-00000000ffff"],
            "has no user 00000000-0000-4000-8000-00000000ffff",
        ),
    ],
)
def test_wrong_words_of_import(
    full: str, taken: dict[str, str], tmp_path: Path, arguments: list[str], said: str, unwritten: None
) -> None:
    assert said in bring(full, file_of(tmp_path, taken["yaml"]), *arguments, status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "xml"], "unknown format 'xml'"),
        (["--email", ""], "--email is empty"),
        (["--output", "-", "--json"], "--json and --output - both want stdout"),
    ],
)
def test_wrong_words_of_export(full: str, tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in export(full, tmp_path / "s", *arguments, status=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(full: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("stands")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo")
    before = sorted(one.name for one in tmp_path.iterdir())
    for name, said in (
        ("folder", "is a folder"),
        ("link", "is a symbolic link"),
        ("dangling", "is a symbolic link"),
        ("fifo", "is not a file"),
        ("none/s", "there is no folder"),
        ("file/s", "Not a directory"),
        ("x" * 300, "File name too long"),
    ):
        done = export(full, tmp_path / name, status=2)
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert "the standard output is: --output -" in export(full, "/dev/stdout", status=2).stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == "stands"


def test_places_that_cannot_be_read(full: str, tmp_path: Path, unwritten: None) -> None:
    (tmp_path / "folder").mkdir()
    for name, said in (
        ("folder", "is a folder"),
        ("none", "No such file or directory"),
        ("x" * 300, "File name too long"),
    ):
        assert said in bring(full, tmp_path / name, status=2).stderr


@pytest.mark.parametrize("name", ["s.yaml", "s.jsonl.gz", "s.zst"])
def test_a_full_disk_leaves_what_stood_there(full: str, tmp_path: Path, name: str) -> None:
    """A limit on the size of files is a full disk that a test can make."""
    file = tmp_path / name
    file.write_text("stands")
    command = [str(BIN / "migratectl"), "export", "--dsn", full, "--output", str(file)]
    done = subprocess.run(
        ["/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 1; exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert f"error: --output {file}: File too large" in done.stderr
    assert file.read_text() == "stands"
    assert list(tmp_path.iterdir()) == [file]


def test_an_old_file_is_replaced_by_a_private_one(full: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("old")
    file.chmod(0o666)
    export(full, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("# A snapshot")


def test_the_password_of_the_dsn_is_in_no_output(full: str, tmp_path: Path) -> None:
    wrong = with_params(full, password="hunter22", host="127.0.0.1", port="1")
    for command in (["export", "--output", str(tmp_path / "s")], ["import", "--file", str(tmp_path / "s")]):
        done = migratectl(*command, "--dsn", wrong)
        assert done.returncode in (2, 3)
        assert "hunter22" not in done.stdout + done.stderr
    export(full, tmp_path / "s")
    assert str(conninfo_to_dict(full)["password"]) not in (tmp_path / "s").read_text()


@pytest.fixture
def reader(databases: Databases) -> Iterator[tuple[str, str]]:
    """A database of its own and a role that may do nothing there yet: both DSNs."""
    admin = databases.migrated()
    run_sql(admin, "DROP ROLE IF EXISTS snapshot_reader; CREATE ROLE snapshot_reader LOGIN PASSWORD 'quite-secret'")
    for number in range(2):
        register(admin, number)
    yield admin, with_params(admin, user="snapshot_reader", password="quite-secret")
    run_sql(admin, "DROP OWNED BY snapshot_reader CASCADE; DROP ROLE snapshot_reader")


def test_missing_rights(reader: tuple[str, str], tmp_path: Path) -> None:
    admin, role = reader
    file = tmp_path / "s.yaml"
    assert "permission denied for table" in export(role, file, status=4).stderr
    assert not file.exists()
    run_sql(admin, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO snapshot_reader")
    export(role, file)
    before = state(admin)
    assert "this role may not read accountdb.tombstone" in bring(role, file, "--merge", status=3).stderr
    run_sql(admin, "GRANT SELECT ON accountdb.tombstone TO snapshot_reader")
    assert "permission denied for table" in bring(role, file, "--merge", status=4).stderr
    assert state(admin) == before


def test_hidden_rows_are_an_error_not_a_smaller_snapshot(reader: tuple[str, str], tmp_path: Path) -> None:
    admin, role = reader
    run_sql(admin, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO snapshot_reader")
    run_sql(admin, "ALTER TABLE users ENABLE ROW LEVEL SECURITY")
    run_sql(admin, "CREATE POLICY one ON users USING (username = 'u1')")
    assert 'row-level security policy for table "users"' in export(role, tmp_path / "s", status=4).stderr
    assert not (tmp_path / "s").exists()


def test_a_snapshot_is_of_one_moment_while_others_write(databases: Databases, tmp_path: Path) -> None:
    """A writer moves one level from one user to another, again and again: the sum never changes."""
    dsn = databases.migrated()
    for number in range(50):
        register(dsn, number, children=False)
    writer = (
        "DO $$ BEGIN FOR i IN 1..100000 LOOP"
        " UPDATE users SET level = level - 1 WHERE username = 'u' || (i % 25);"
        " UPDATE users SET level = level + 1 WHERE username = 'u' || (25 + i % 25);"
        " INSERT INTO sessions (token, expires_at, user_uuid)"
        " SELECT gen_random_uuid(), 'infinity', uuid FROM users LIMIT 1;"
        " INSERT INTO identities (provider, external_id, user_uuid)"
        " SELECT 'p', gen_random_uuid(), uuid FROM users LIMIT 1;"
        " COMMIT; END LOOP; END $$"
    )
    with closing(connect(dsn, autocommit=True)) as conn, ThreadPoolExecutor(1) as pool:
        written = pool.submit(conn.execute, writer.encode())
        eventually(lambda: value(dsn, "SELECT count(*) FROM sessions") > 20)
        targets = []
        for layout in ("yaml", "jsonl"):
            export(dsn, tmp_path / f"s.{layout}")
            target = databases.migrated()
            bring(target, tmp_path / f"s.{layout}")
            targets.append(target)
        moved = value(dsn, "SELECT count(*) FROM sessions")
        conn.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            written.result(30)
    for target in targets:
        assert value(target, "SELECT sum(level) FROM users") == 50 * 20
        sessions, identities = (value(target, f"SELECT count(*) FROM {table}") for table in ("sessions", "identities"))
        assert 0 < sessions == identities < moved


def test_a_killed_import_leaves_nothing(databases: Databases, full: str, tmp_path: Path) -> None:
    export(full, tmp_path / "s.yaml")
    dsn = databases.migrated()
    before = state(dsn)
    with connect(dsn) as blocker:
        # It stops where it has staged everything, and waits for the last table.
        blocker.execute("LOCK TABLE subscriptions IN ROW EXCLUSIVE MODE")
        process = subprocess.Popen(
            [BIN / "migratectl", "import", "--dsn", dsn, "--file", tmp_path / "s.yaml"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: value(dsn, f"SELECT count(*) {OF_IMPORT} AND wait_event_type = 'Lock'") == 1)
        process.kill()
        process.wait()
    eventually(lambda: value(dsn, f"SELECT count(*) {OF_IMPORT}") == 0)
    assert state(dsn) == before
    assert counts(brought(dsn, tmp_path / "s.yaml")) == (5, 0, 0, 0, 0)
    assert content(dsn) == content(full)


def test_a_connection_that_is_lost_while_writing(databases: Databases, full: str, tmp_path: Path) -> None:
    export(full, tmp_path / "s.jsonl")
    dsn = databases.migrated()
    before = state(dsn)
    run_sql(
        dsn,
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$",
    )
    run_sql(dsn, "CREATE TRIGGER die BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION die()")
    done = bring(dsn, tmp_path / "s.jsonl", status=3)
    assert "terminating connection" in done.stderr
    run_sql(dsn, "DROP FUNCTION die CASCADE")
    assert content(dsn) == {table: one for table, one in before[0].items() if table in content(dsn)}


def test_a_table_that_somebody_holds(databases: Databases, full: str, tmp_path: Path) -> None:
    """Readers are not waited for, and go on."""
    export(full, tmp_path / "s.yaml")
    dsn = databases.migrated()
    with connect(dsn) as reading:
        reading.execute("SELECT count(*) FROM users")
        began = time.monotonic()
        bring(dsn, tmp_path / "s.yaml")
        assert time.monotonic() - began < 10


def test_an_ordinary_role_without_ownership(databases: Databases, full: str, native_lab: Lab, tmp_path: Path) -> None:
    export(full, tmp_path / "s.yaml")
    admin = databases.migrated()
    owner = as_role(admin, native_lab.region("cn").app_dsn)
    run_sql(admin, "DROP ROLE IF EXISTS snapshot_app; CREATE ROLE snapshot_app LOGIN PASSWORD 'quite-secret'")
    run_sql(owner, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO snapshot_app")
    run_sql(admin, "GRANT SELECT ON accountdb.tombstone TO snapshot_app")
    bring(with_params(admin, user="snapshot_app", password="quite-secret"), tmp_path / "s.yaml")
    assert content(admin) == content(full)
    run_sql(admin, "DROP OWNED BY snapshot_app; DROP ROLE snapshot_app")


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_what_is_committed_while_it_waits_counts(
    databases: Databases, full: str, tmp_path: Path, isolation: str
) -> None:
    export(full, tmp_path / "s.yaml")
    dsn = databases.migrated()
    name = conninfo_to_dict(dsn)["dbname"]
    run_sql(dsn, f"ALTER DATABASE {name} SET default_transaction_isolation TO '{isolation}'")
    with connect(dsn) as writer, ThreadPoolExecutor(1) as pool:
        writer.execute("INSERT INTO users (username, password) VALUES ('meanwhile', 'x')")
        done = pool.submit(bring, dsn, tmp_path / "s.yaml", status=4)
        eventually(lambda: value(dsn, f"SELECT count(*) {OF_IMPORT} AND wait_event_type = 'Lock'") == 1)
        writer.commit()
    assert "users holds 1 row (" in done.result().stderr
    assert value(dsn, "SELECT count(*) FROM users") == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('email: "u2@x.com"', 'email: "u1@x.com"', ""),
        ('password: "secret"', "password: null", 'users: null value in column "password"'),
        ('username: "u2"', "username: null", 'users: null value in column "username"'),
        ('version: "0"', 'version: "99999999999999999999"', "out of range"),
    ],
)
def test_rows_that_the_table_does_not_take_are_not_shown(
    databases: Databases, taken: dict[str, str], tmp_path: Path, old: str, new: str, said: str
) -> None:
    dsn = databases.migrated()
    file = file_of(
        tmp_path, taken["yaml"].replace('"secret"', '"hunter22"').replace(old.replace("secret", "hunter22"), new)
    )
    done = bring(dsn, file, "--allow", "edited", status=3 if said else 1)
    assert said in done.stderr
    assert "hunter22" not in done.stderr
    assert "u1@x.com" not in done.stderr
    assert value(dsn, "SELECT count(*) FROM users") == (0 if said else 4)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_export_that_is_told_to_end_leaves_what_stood_there(
    databases: Databases, tmp_path: Path, number: signal.Signals
) -> None:
    dsn = databases.migrated()
    run_sql(
        dsn,
        "INSERT INTO users (username, password, groups) SELECT n, n,"
        " (SELECT jsonb_agg(md5((n * m)::text)) FROM generate_series(1, 30) AS m) FROM generate_series(1, 50000) AS n",
    )
    file = tmp_path / "s.yaml.gz"
    file.write_text("stands")
    command = [str(BIN / "migratectl"), "export", "--dsn", dsn, "--output", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    eventually(lambda: any(one.stat().st_size > 100_000 for one in tmp_path.glob("*.tmp-*")))
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode in (129, 130, 143)
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "stands"
