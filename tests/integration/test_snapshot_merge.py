"""Import into tables that hold rows: strategies, unique claims, references, deleted rows, the allowlist, dry runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accountdb.catalog.tables import read_tables
from accountdb.guards.install import install
from accountdb.pg.connect import connect
from tests.conftest import Databases, rows, run_sql, value
from tests.integration.snapshots import bring, brought, content, counts, export, left_out, make_table, register, state

STRATEGIES = ("replace", "append", "timestamp")
# What nobody notices: no trigger, no tombstone.
QUIET = "SET session_replication_role = replica; SET accountdb.judged = on; "
U = "00000000-0000-4000-8000-{:012d}".format


@pytest.fixture
def dsn(databases: Databases) -> str:
    """A guarded database with the node name ``here``."""
    found = databases.migrated()
    run_sql(found, "INSERT INTO accountdb.node (name) VALUES ('here')")
    with connect(found) as conn:
        install(conn, read_tables(conn))
    return found


@pytest.fixture
def merged(dsn: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Import the snapshot ``s.yaml``: a dry run says what the run says and writes nothing; run again, nothing moves."""
    file = tmp_path / "s.yaml"

    def run(strategy: str, *arguments: str, status: int = 0) -> dict[str, Any]:
        words = ["--merge", "--merge-strategy", strategy, *arguments]
        before = state(dsn)
        promised = brought(dsn, file, "--dry-run", *words, status=status)
        assert state(dsn) == before
        found = brought(dsn, file, *words, status=status)
        for key in ("tables", "left_out", "revived"):
            assert found[key] == promised[key]
        before = state(dsn)
        again = brought(dsn, file, *words, status=status)
        assert all(one["inserted"] == one["updated"] == 0 for one in again["tables"].values())
        assert state(dsn) == before
        return found

    return run


@pytest.fixture
def snapshot(dsn: str, tmp_path: Path) -> Callable[..., None]:
    """Take ``s.yaml``."""

    def take(*arguments: str) -> None:
        export(dsn, tmp_path / "s.yaml", *arguments)

    return take


def user(dsn: str, number: int, columns: str = "username, email, version, origin_node") -> tuple[Any, ...]:
    return rows(dsn, f"SELECT {columns} FROM users WHERE uuid = '{U(number)}'")[0]


def empty(dsn: str, *users: int) -> None:
    """Without a trace: all rows, or these users with what is theirs."""
    chosen = ", ".join(f"'{U(number)}'" for number in users)
    for table in content(dsn):
        key = "uuid" if table == "users" else "user_uuid"
        where = f" WHERE {key} IN ({chosen})" if users and table != "admin_settings" else ""
        run_sql(dsn, f"{QUIET}DELETE FROM {table}{where}")


def lawful(dsn: str) -> None:
    """No child without its parent, and no other writer's judgement is on record."""
    for table in ("identities", "sessions", "subscriptions"):
        assert value(dsn, f"SELECT count(*) FROM {table} WHERE user_uuid NOT IN (SELECT uuid FROM users)") == 0
    assert value(dsn, "SELECT count(*) FROM accountdb.conflict") == 0


def test_tables_that_hold_other_rows_are_refused_with_counts(dsn: str, snapshot: Any, tmp_path: Path) -> None:
    for number in range(4):
        register(dsn, number, children=False)
    snapshot()
    run_sql(dsn, f"DELETE FROM users WHERE uuid = '{U(0)}'")
    run_sql(dsn, f"UPDATE users SET level = 9 WHERE uuid = '{U(1)}'")
    register(dsn, 7, children=False)
    before = state(dsn)
    done = bring(dsn, tmp_path / "s.yaml", status=4)
    told = "users holds 4 rows (2 as in the snapshot, 1 other than there, 1 that it has not) and lacks 1"
    assert told in done.stderr
    assert "--merge" in done.stderr
    assert state(dsn) == before


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_becomes_of_a_row_on_both_sides(dsn: str, merged: Any, snapshot: Any, strategy: str) -> None:
    for number in range(6):
        register(dsn, number)
    run_sql(dsn, "UPDATE users SET level = 30")
    snapshot()
    # 1 was changed here since; 2 was put back to an older copy; 3 differs in its stamp alone; 4 is gone traceless.
    run_sql(dsn, f"UPDATE users SET level = 31 WHERE uuid = '{U(1)}'")
    run_sql(dsn, f"{QUIET}UPDATE users SET level = 10, version = 0 WHERE uuid = '{U(2)}'")
    run_sql(dsn, f"UPDATE users SET level = 30 WHERE uuid = '{U(3)}'")
    run_sql(dsn, f"{QUIET}DELETE FROM users WHERE uuid = '{U(4)}'")
    register(dsn, 9)
    found = merged(strategy)
    level = {n: user(dsn, n, "level, version") for n in (0, 1, 2, 3, 4, 9)}
    assert level[0] == (30, 1)
    assert level[4] == (30, 1)
    assert level[9] == (20, 0)
    if strategy == "append":
        assert (level[1], level[2]) == ((31, 2), (10, 0))
        assert counts(found) == (1, 0, 2, 3, 0)
    elif strategy == "timestamp":
        assert (level[1], level[2]) == ((31, 2), (30, 1))
        assert counts(found) == (1, 1, 2, 2, 0)
    else:
        # What takes the place of a newer version is a version of its own.
        assert (level[1], level[2]) == ((30, 3), (30, 1))
        assert user(dsn, 1, "origin_node, updated_at > now() - interval '1 minute', created_at") == (
            "here",
            True,
            user(dsn, 0, "created_at")[0],
        )
        assert counts(found) == (1, 2, 3, 0, 0)
    assert level[3] == (30, 2)
    lawful(dsn)


def test_the_content_decides_between_equal_stamps(dsn: str, merged: Any, snapshot: Any) -> None:
    for number in range(40):
        register(dsn, number, children=False)
    snapshot()
    run_sql(dsn, f"{QUIET}UPDATE users SET level = 21")
    content_of = "SELECT uuid, md5(accountdb.row_content(users, '{email_verified}')::text) FROM users"
    here = dict(rows(dsn, content_of))
    found = merged("timestamp")
    after = dict(rows(dsn, content_of))
    changed = {uuid for uuid in here if after[uuid] != here[uuid]}
    assert all(after[uuid] > here[uuid] for uuid in changed)
    assert 0 < len(changed) < 40
    assert counts(found) == (0, len(changed), 0, 40 - len(changed), 0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_was_deleted_here(dsn: str, merged: Any, snapshot: Any, strategy: str) -> None:
    for number in range(3):
        register(dsn, number)
    snapshot()
    run_sql(dsn, f"DELETE FROM users WHERE uuid = '{U(1)}'")
    found = merged(strategy)
    if strategy == "timestamp":
        # Deletes win and stay deleted.
        assert value(dsn, "SELECT count(*) FROM users") == 2
        assert counts(found) == (0, 0, 2, 0, 1)
        assert left_out(found) == [(t, "deleted", "", 1) for t in ("users", "identities", "sessions", "subscriptions")]
        assert found["revived"] == {}
    else:
        # A new life: another region would hold the old one for dead.
        assert value(dsn, "SELECT count(*) FROM users") == 3
        assert counts(found) == (1, 0, 2, 0, 0)
        assert found["revived"] == dict.fromkeys(("users", "identities", "sessions", "subscriptions"), 1)
        dead = "SELECT row_key, created_at FROM accountdb.tombstone"
        buried = f"SELECT count(*) FROM users WHERE (uuid, created_at) IN ({dead})"
        assert value(dsn, buried) == 0
        assert user(dsn, 1, "username, email, version") == ("u1", "u1@x.com", 0)
    lawful(dsn)


def test_a_later_life_is_not_taken_for_the_one_of_the_snapshot(dsn: str, merged: Any, snapshot: Any) -> None:
    register(dsn, 1, children=False)
    run_sql(dsn, "UPDATE users SET level = 30")
    run_sql(dsn, "UPDATE users SET level = 31")
    snapshot()
    run_sql(dsn, "DELETE FROM users")
    register(dsn, 1, children=False)
    assert user(dsn, 1, "level, version, created_at > now() - interval '1 minute'") == (20, 0, True)
    assert counts(merged("timestamp")) == (0, 0, 0, 1, 0)
    assert counts(merged("replace")) == (0, 1, 0, 0, 0)
    assert user(dsn, 1, "level, version, created_at > now() - interval '1 minute'") == (31, 1, True)


def test_a_deleted_database_comes_back_without_merge(dsn: str, snapshot: Any, tmp_path: Path) -> None:
    """Everything was deleted by mistake: the plain import fills the empty tables again."""
    for number in range(3):
        register(dsn, number)
    snapshot()
    run_sql(dsn, "DELETE FROM users")
    found = brought(dsn, tmp_path / "s.yaml")
    assert counts(found) == (3, 0, 0, 0, 0)
    assert found["revived"]["users"] == 3
    assert counts(brought(dsn, tmp_path / "s.yaml")) == (0, 0, 3, 0, 0)
    lawful(dsn)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_value_that_another_row_has_by_now(dsn: str, merged: Any, snapshot: Any, strategy: str) -> None:
    """What stands keeps it, whichever was there first; the rest of the snapshot comes in."""
    for number in range(5):
        register(dsn, number)
    snapshot()
    empty(dsn, 1, 2, 4)
    # One takes an email, another a username, in another case; a third one an identity.
    run_sql(dsn, "INSERT INTO users (username, password, email) VALUES ('new1', 'x', 'U1@X.com'), ('U2', 'x', NULL)")
    new = value(dsn, "SELECT uuid FROM users WHERE username = 'new1'")
    run_sql(dsn, "INSERT INTO identities (provider, external_id, user_uuid) VALUES ('p', %s, %s)", U(4), new)
    standing = rows(dsn, "SELECT * FROM users WHERE username IN ('new1', 'U2') ORDER BY 1")
    found = merged(strategy, status=1)
    assert counts(found) == (1, 0, 2, 0, 2)
    assert left_out(found) == [
        ("users", "claimed", "users_email_lower_uk", 1),
        ("users", "claimed", "users_username_lower_uk", 1),
        ("identities", "claimed", "identities_provider_external_id_uk", 1),
        ("identities", "orphan", "identities_user_uuid_fkey", 2),
        ("sessions", "orphan", "sessions_user_uuid_fkey", 2),
        ("subscriptions", "orphan", "subscriptions_user_uuid_fkey", 2),
    ]
    assert found["left_out"][0]["rows"][0][0] == U(1)
    assert rows(dsn, "SELECT * FROM users WHERE username IN ('new1', 'U2') ORDER BY 1") == standing
    assert user(dsn, 4)[0] == "u4"
    lawful(dsn)


def test_values_are_not_shown_and_rows_are(dsn: str, snapshot: Any, tmp_path: Path) -> None:
    for number in range(3):
        register(dsn, number)
    snapshot()
    run_sql(dsn, f"{QUIET}DELETE FROM sessions WHERE token = '{U(1)}'")
    run_sql(dsn, f"INSERT INTO sessions (token, expires_at, user_uuid) VALUES ('{U(1)}', now(), '{U(2)}')")
    uuid = value(dsn, "SELECT uuid::text FROM sessions ORDER BY created_at DESC LIMIT 1")
    done = bring(dsn, tmp_path / "s.yaml", "--merge", status=1)
    assert "left out: 1 row of sessions, whose value of sessions_token_uk another row has" in done.stderr
    assert f", which {uuid} has" in done.stderr
    assert U(1) not in done.stdout + done.stderr
    assert "sessions\t0\t0\t2\t0\t1\n" in done.stdout


@pytest.mark.parametrize("strategy", ["replace", "timestamp"])
def test_values_that_change_places(dsn: str, merged: Any, snapshot: Any, strategy: str) -> None:
    """a to b to c to a: no order of single updates would do. Nobody loses a value."""
    for number in range(4):
        register(dsn, number)
    run_sql(dsn, "UPDATE users SET level = 30")
    snapshot()
    for n, name in ((1, "t"), (2, "u1"), (3, "u2"), (1, "u3")):
        run_sql(dsn, f"UPDATE users SET username = '{name}', email = '{name}@x.com' WHERE uuid = '{U(n)}'")
    if strategy == "timestamp":
        run_sql(dsn, f"{QUIET}UPDATE users SET version = 0")
    assert user(dsn, 1, "username") == ("u3",)
    found = merged(strategy)
    assert counts(found)[1] >= 3
    assert rows(dsn, "SELECT username, email, level FROM users ORDER BY 1") == [
        (f"u{n}", f"u{n}@x.com", 30) for n in range(4)
    ]
    lawful(dsn)


def test_tokens_that_change_places(dsn: str, merged: Any, snapshot: Any) -> None:
    """Nothing of a session can be empty: another text stands in for a while."""
    for number in range(3):
        register(dsn, number)
    snapshot()
    for n, token in ((0, "t"), (1, U(0)), (0, U(1))):
        run_sql(dsn, f"UPDATE sessions SET token = '{token}' WHERE user_uuid = '{U(n)}'")
    assert counts(merged("replace"), "sessions") == (0, 2, 1, 0, 0)
    assert rows(dsn, "SELECT count(*) FROM sessions WHERE token = user_uuid::text") == [(3,)]


def test_a_value_that_a_row_of_the_snapshot_gives_up_for_another(dsn: str, merged: Any, snapshot: Any) -> None:
    """u1 had the email that a new row has here; the row that had it lets it go in the snapshot."""
    register(dsn, 1)
    register(dsn, 2)
    snapshot()
    run_sql(dsn, f"UPDATE users SET email = 'else@x.com' WHERE uuid = '{U(1)}'")
    run_sql(dsn, f"UPDATE users SET email = 'u1@x.com' WHERE uuid = '{U(2)}'")
    register(dsn, 3)
    run_sql(dsn, f"UPDATE users SET email = 'u2@x.com' WHERE uuid = '{U(3)}'")
    # u2's email is taken by u3, so u2 stays as it is, so u1's is not free either.
    found = merged("replace", status=1)
    assert counts(found) == (0, 0, 0, 0, 2)
    assert left_out(found) == [("users", "claimed", "users_email_lower_uk", 2)]
    lawful(dsn)


def test_a_child_without_a_parent(dsn: str, merged: Any, snapshot: Any, tmp_path: Path) -> None:
    for number in range(3):
        register(dsn, number)
    snapshot()
    text = (tmp_path / "s.yaml").read_text()
    start = text.index(f'    - uuid: "{U(1)}"')
    (tmp_path / "s.yaml").write_text(text[:start] + text[text.index("    - uuid", start + 5) :])
    empty(dsn)
    found = merged("timestamp", "--allow", "edited", status=1)
    assert [counts(found, table) for table in ("users", "identities", "sessions")] == [
        (2, 0, 0, 0, 0),
        (2, 0, 0, 0, 1),
        (2, 0, 0, 0, 1),
    ]
    lawful(dsn)


@pytest.mark.parametrize("merge", [True, False])
def test_the_allowlist(dsn: str, merged: Any, snapshot: Any, tmp_path: Path, merge: bool) -> None:
    for number in range(5):
        register(dsn, number)
    run_sql(dsn, "INSERT INTO admin_settings (module_key, role) VALUES ('k', 'r')")
    snapshot()
    empty(dsn)
    wanted = ["--merge-allowlist", U(1), "--merge-allowlist", U(3).upper(), "--merge-allowlist", U(1)]
    found = merged("append", *wanted) if merge else brought(dsn, tmp_path / "s.yaml", *wanted)
    for table in ("users", "identities", "sessions", "subscriptions"):
        assert counts(found, table) == (2, 0, 0, 0, 0)
    assert counts(found, "admin_settings") == (0, 0, 0, 0, 0)
    assert rows(dsn, "SELECT username FROM users ORDER BY 1") == [("u1",), ("u3",)]
    lawful(dsn)


def test_references_of_references_in_circles_and_to_itself(databases: Databases, tmp_path: Path) -> None:
    """Grandchildren come along, whatever the hops; rows that refer to nobody who was chosen stay out."""
    made = []
    for dsn in (databases.migrated(), databases.migrated()):
        make_table(dsn, "orders", "user_uuid uuid REFERENCES users, part_of uuid REFERENCES orders")
        make_table(dsn, "li.nes", "order_uuid uuid REFERENCES orders, note text")
        make_table(dsn, "a", "user_uuid uuid REFERENCES users")
        make_table(dsn, "b", "a_uuid uuid REFERENCES a")
        run_sql(dsn, "ALTER TABLE a ADD b_uuid uuid REFERENCES b DEFERRABLE")
        made.append(dsn)
    dsn, target = made
    for number in (1, 2):
        register(dsn, number, children=False)
        run_sql(dsn, f"INSERT INTO orders (uuid, user_uuid) VALUES ('{U(10 + number)}', '{U(number)}')")
        run_sql(dsn, f"INSERT INTO orders (uuid, part_of) VALUES ('{U(20 + number)}', '{U(10 + number)}')")
        run_sql(dsn, f"INSERT INTO orders (uuid, part_of) VALUES ('{U(5 + number)}', '{U(20 + number)}')")
        run_sql(
            dsn,
            f"INSERT INTO \"li.nes\" (order_uuid, note) VALUES ('{U(5 + number)}', 'of {number}'), (NULL, 'nobody''s')",
        )
        run_sql(dsn, f"INSERT INTO a (uuid, user_uuid) VALUES ('{U(30 + number)}', '{U(number)}')")
        run_sql(dsn, f"INSERT INTO b (uuid, a_uuid) VALUES ('{U(40 + number)}', '{U(30 + number)}')")
        run_sql(dsn, f"INSERT INTO a (uuid, b_uuid) VALUES ('{U(50 + number)}', '{U(40 + number)}')")
    export(dsn, tmp_path / "all.jsonl")
    export(dsn, tmp_path / "one.yaml", "--email", "U1@")
    found = brought(target, tmp_path / "all.jsonl", "--merge-allowlist", U(1))
    expected = {"users": 1, "orders": 3, "li.nes": 1, "a": 2, "b": 1, "identities": 0, "sessions": 0}
    assert {table: counts(found, table) for table in expected} == {t: (n, 0, 0, 0, 0) for t, n in expected.items()}
    again = brought(target, tmp_path / "one.yaml")
    assert {table: counts(again, table) for table in expected} == {t: (0, 0, n, 0, 0) for t, n in expected.items()}
    bring(target, tmp_path / "all.jsonl", "--merge")
    assert content(target) == content(dsn)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("X.COM", ["u1", "u2"]),
        ("u1@", ["u1"]),
        ("%", ["percent"]),
        ("_", []),
        ("\\", []),
        ("éx", ["accent"]),
        ("'", []),
    ],
)
def test_some_users_by_a_word_of_their_email(
    databases: Databases, tmp_path: Path, word: str, expected: list[str]
) -> None:
    dsn, target = databases.migrated(), databases.migrated()
    for number in (1, 2):
        register(dsn, number)
    for name, email in (("percent", "50%"), ("accent", "ÉX"), ("none", None)):
        run_sql(dsn, "INSERT INTO users (username, password, email) VALUES (%s, 'x', %s)", name, email)
    run_sql(dsn, "INSERT INTO admin_settings (module_key, role) VALUES ('k', 'r')")
    done = export(dsn, tmp_path / "s.yaml", "--email", word)
    assert (f"no user's email has the word {word!r}" in done.stderr) == (not expected)
    found = brought(target, tmp_path / "s.yaml")
    assert [name for (name,) in rows(target, "SELECT username FROM users ORDER BY 1")] == sorted(expected)
    children = len({"u1", "u2"} & set(expected))
    assert counts(found, "sessions") == (children, 0, 0, 0, 0)
    assert counts(found, "admin_settings") == (0, 0, 0, 0, 0)


def test_a_database_that_knows_no_policy(databases: Databases, tmp_path: Path) -> None:
    """Before the row order there was none to merge by; empty tables are filled all the same."""
    dsn, older = databases.migrated(), databases.migrated()
    register(dsn, 1)
    export(dsn, tmp_path / "s.yaml")
    run_sql(older, "DROP FUNCTION accountdb.row_wins; DROP TABLE accountdb.tombstone CASCADE")
    done = bring(older, tmp_path / "s.yaml", "--merge", status=3)
    assert "this database has no row order" in done.stderr
    bring(older, tmp_path / "s.yaml")
    assert content(older) == content(dsn)


def test_a_trigger_of_the_table_has_its_say(dsn: str, merged: Any, snapshot: Any) -> None:
    for number in range(3):
        register(dsn, number, children=False)
    snapshot()
    run_sql(dsn, f"{QUIET}DELETE FROM users")
    run_sql(
        dsn,
        "CREATE FUNCTION no_u1() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.username = 'u1' THEN RETURN NULL; END IF; RETURN NEW; END $$",
    )
    run_sql(dsn, "CREATE TRIGGER no_u1 BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION no_u1()")
    found = merged("append", status=1)
    assert counts(found) == (2, 0, 0, 0, 1)
    assert left_out(found) == [("users", "trigger", "", 1)]


def test_what_is_checked_at_the_end_is_checked_in_a_dry_run_too(dsn: str, snapshot: Any, tmp_path: Path) -> None:
    for number in range(2):
        register(dsn, number, children=False)
    snapshot()
    run_sql(dsn, f"{QUIET}DELETE FROM users")
    run_sql(dsn, "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$")
    run_sql(
        dsn,
        "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION no()",
    )
    for more in ([], ["--dry-run"]):
        assert "not today" in bring(dsn, tmp_path / "s.yaml", *more, status=3).stderr
    assert value(dsn, "SELECT count(*) FROM users") == 0


def test_a_value_that_cannot_be_let_go_stays_with_all_that_its_row_holds(databases: Databases, tmp_path: Path) -> None:
    """Two rows change places in two indexes, of which one cannot be freed: neither may lose the other value."""
    dsn = databases.migrated()
    make_table(dsn, "badges", "user_uuid uuid NOT NULL UNIQUE REFERENCES users, code text UNIQUE, note text")
    for number in (1, 2, 3):
        register(dsn, number, children=False)
        run_sql(dsn, f"INSERT INTO badges (uuid, user_uuid, code) VALUES ('{U(number)}', '{U(number)}', 'c{number}')")
    run_sql(dsn, "UPDATE badges SET note = 'old'")
    export(dsn, tmp_path / "s.yaml")
    run_sql(dsn, f"UPDATE badges SET note = 'new' WHERE uuid = '{U(3)}'")
    run_sql(dsn, f"DELETE FROM badges WHERE uuid <> '{U(3)}'")
    for number, other in ((1, 2), (2, 1)):
        run_sql(dsn, f"INSERT INTO badges (uuid, user_uuid, code) VALUES ('{U(number)}', '{U(other)}', 'c{other}')")
    before = rows(dsn, f"SELECT * FROM badges WHERE uuid <> '{U(3)}' ORDER BY uuid")
    found = brought(dsn, tmp_path / "s.yaml", "--merge", "--merge-strategy", "replace", status=1)
    assert counts(found, "badges") == (0, 1, 0, 0, 2)
    assert [one[:2] for one in left_out(found)] == [("badges", "claimed")]
    assert rows(dsn, f"SELECT * FROM badges WHERE uuid <> '{U(3)}' ORDER BY uuid") == before
    assert rows(dsn, f"SELECT note FROM badges WHERE uuid = '{U(3)}'") == [("old",)]


def test_a_trigger_that_lets_no_row_be_updated_stops_the_import(dsn: str, snapshot: Any, tmp_path: Path) -> None:
    for number in range(3):
        register(dsn, number, children=False)
    snapshot()
    run_sql(dsn, "UPDATE users SET level = 1")
    run_sql(dsn, "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    run_sql(dsn, "CREATE TRIGGER no BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION no()")
    before = state(dsn)
    done = bring(dsn, tmp_path / "s.yaml", "--merge", "--merge-strategy", "replace", status=3)
    assert "a trigger of users let 0 of 3 rows be updated" in done.stderr
    assert state(dsn) == before


def test_columns_with_the_names_of_what_the_import_works_with(databases: Databases, tmp_path: Path) -> None:
    """Claims, ties of the row order, references and values that change places, where every name is taken."""
    dsn = databases.migrated()
    taken = (
        "verdict",
        "why",
        "way",
        "dead",
        "bump",
        "s",
        "t",
        "v",
        "o",
        "g",
        "r",
        "first",
        "wins",
        "tie",
        "claimed",
        "accountdb_n",
    )
    table = 'select "%s" é'
    made = "made text GENERATED ALWAYS AS (bump || '!') STORED"
    make_table(dsn, table, ", ".join(f"{name} text" for name in taken) + f', "w%s" uuid REFERENCES users, {made}')
    quoted = '"' + table.replace('"', '""') + '"'
    run_sql(dsn, f"CREATE UNIQUE INDEX ON {quoted} (uuid, verdict)")
    run_sql(dsn, f"CREATE UNIQUE INDEX ON {quoted} (lower(s || coalesce(t, '%s'))) WHERE why IS NOT NULL")
    run_sql(dsn, f"CREATE UNIQUE INDEX ON {quoted} (made)")
    user = register(dsn, 1, children=False)
    for n in range(4):
        values = ", ".join([f"'{name}{n}'" for name in taken])
        run_sql(dsn, f"INSERT INTO {quoted} (uuid, {', '.join(taken)}, \"w%s\") VALUES ('{U(n)}', {values}, '{user}')")
    export(dsn, tmp_path / "s.yaml")
    before = content(dsn)
    for n, other in ((0, "x"), (1, 0), (0, 1)):
        run_sql(
            dsn, f"UPDATE {quoted} SET s = 's{other}', t = 't{other}', verdict = 'verdict{other}' WHERE uuid = '{U(n)}'"
        )
    run_sql(dsn, f"{QUIET}UPDATE {quoted} SET tie = 'other' WHERE uuid = '{U(2)}'")
    found = brought(dsn, tmp_path / "s.yaml", "--merge", "--merge-strategy", "replace")
    assert counts(found, table) in ((0, 3, 1, 0, 0), (0, 2, 2, 0, 0))
    assert rows(dsn, f"SELECT s, t, verdict, made, tie FROM {quoted} ORDER BY uuid") == [
        (f"s{n}", f"t{n}", f"verdict{n}", f"bump{n}!", f"tie{n}") for n in range(4)
    ]
    run_sql(dsn, f"DELETE FROM {quoted} WHERE uuid = '{U(3)}'")
    run_sql(dsn, f"INSERT INTO {quoted} (s, t, why) VALUES ('S3', 'T3', '')")
    found = brought(dsn, tmp_path / "s.yaml", "--merge", "--merge-strategy", "append", status=1)
    assert counts(found, table)[4] == 1
    run_sql(dsn, f"{QUIET}DELETE FROM {quoted}")
    bring(dsn, tmp_path / "s.yaml", "--merge")
    assert content(dsn) == before
