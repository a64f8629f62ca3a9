"""Resolving on one region: odd tables, refusals, states that move. A session in replica mode plays the apply worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from accountdb.conflicts import reading, resolving
from accountdb.conflicts.model import Action, Conflict, Plan, Request
from accountdb.conflicts.regions import Regions, opened
from accountdb.conflicts.showing import planned, showing
from accountdb.errors import AccountdbError, ConnectError, MissingRightError, UsageError
from accountdb.pg.connect import connect
from accountdb.render.output import as_json
from accountdb.replication.model import Mode
from accountdb.setup.init import InitRequest, init
from tests.conftest import CONTRACT, Databases, as_role, migratectl, rows, run_sql, value

MERGE, DISMISS = Request(Action.MERGE), Request(Action.DISMISS)


def put(**values: str | None) -> Request:
    return Request(Action.SET, tuple(values.items()))


def key(number: int) -> UUID:
    return UUID(f"{number:08x}-0000-4000-8000-000000000000")


@pytest.fixture
def cn(migrated: str) -> str:
    """A region with guards (superuser DSN)."""
    init(InitRequest(migrated, Mode.NATIVE, "node_cn"))
    return migrated


def table(dsn: str, name: str, columns: str, *more: str) -> None:
    """A table under the row contract, with its guard."""
    with connect(dsn) as conn:
        conn.execute("SET ROLE account")
        conn.execute(f'CREATE TABLE public."{name}" ({columns}, {CONTRACT})'.encode())
        for function in ("set_updated_at", "bump_version"):
            trigger = f'CREATE TRIGGER t_{function} BEFORE UPDATE ON public."{name}" FOR EACH ROW EXECUTE FUNCTION'
            conn.execute(f"{trigger} public.{function}()".encode())
        for statement in more:
            conn.execute(statement.encode())
    init(InitRequest(dsn, Mode.NATIVE, "node_cn"))


def arrives(dsn: str, statement: str, *params: Any) -> None:
    """A change of the other region is applied."""
    with connect(dsn) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("SET accountdb.apply = on")
        conn.execute(statement.encode(), params or None)


def person(dsn: str, number: int, email: str, *, remote: bool = False) -> UUID:
    statement = "INSERT INTO public.users (uuid, username, password, email) VALUES (%s, %s, %s, %s)"
    (arrives if remote else run_sql)(dsn, statement, key(number), f"user {number}", f"pw-secret-{number}", email)
    return key(number)


def two_people(dsn: str) -> tuple[UUID, UUID]:
    """The winner and the loser of one email."""
    return person(dsn, 1, "a@x.cn"), person(dsn, 2, "A@x.cn", remote=True)


@contextmanager
def one_open(dsn: str, kind: str = "unique_claim") -> Iterator[tuple[Regions, Conflict]]:
    with opened({"cn": dsn}) as regions:
        (found,) = [c for c in reading.open_ones(regions) if c.kind == kind]
        yield regions, found


def resolve(dsn: str, request: Request, kind: str = "unique_claim") -> Plan:
    with one_open(dsn, kind) as (regions, conflict):
        agreed = resolving.plan(regions, conflict, request)
        resolving.apply(regions, agreed)
        return agreed


def resolutions(dsn: str) -> int:
    return int(value(dsn, "SELECT count(*) FROM accountdb.resolution"))


@pytest.mark.parametrize(
    "meddle",
    [
        "UPDATE users SET level = 1 WHERE username = 'user 2'",
        "UPDATE users SET level = 1 WHERE username = 'user 1'",
        "INSERT INTO sessions (token, expires_at, user_uuid) SELECT 't', now(), uuid FROM users WHERE email IS NULL",
        "DELETE FROM users WHERE username = 'user 1'",
        "INSERT INTO accountdb.resolution (conflict_id, action) SELECT id, 'dismiss' FROM accountdb.conflict",
    ],
)
def test_a_plan_is_refused_when_the_state_has_moved(cn: str, meddle: str) -> None:
    two_people(cn)
    with one_open(cn) as (regions, conflict):
        agreed = resolving.plan(regions, conflict, MERGE)
        run_sql(cn, meddle)
        before = resolutions(cn)
        with pytest.raises(AccountdbError):
            resolving.apply(regions, agreed)
    assert rows(cn, "SELECT FROM users WHERE username = 'user 2'")
    assert resolutions(cn) == before


def test_a_locked_row_is_said_and_nothing_is_written(cn: str) -> None:
    _, loser = two_people(cn)
    with one_open(cn) as (regions, conflict), connect(cn) as other:
        agreed = resolving.plan(regions, conflict, put(email="b@x.cn"))
        other.execute("SELECT FROM users WHERE uuid = %s FOR UPDATE", (loser,))
        with pytest.raises(AccountdbError, match="nothing was written: canceling statement due to lock timeout"):
            resolving.apply(regions, agreed)
    assert resolutions(cn) == 0


def test_a_refusal_of_the_server_never_quotes_the_row(cn: str) -> None:
    two_people(cn)
    run_sql(cn, "ALTER TABLE users ADD CONSTRAINT short CHECK (length(email) < 10)")
    run_sql(
        cn,
        "CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.level = 1 THEN RAISE EXCEPTION 'row is %', NEW; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER tell BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION public.tell()",
    )
    for values in ({"email": "longer@example.cn"}, {"email": "b@x.cn", "level": "1"}):
        with pytest.raises(AccountdbError, match="nothing was written") as refused:
            resolve(cn, put(**values))
        assert "pw-secret" not in refused.value.message
        assert refused.value.__suppress_context__
    with one_open(cn) as (_, conflict):
        sets = [word for name, text in values.items() for word in ("--set", f"{name}={text}")]
        found = migratectl("--debug", "conflicts", "resolve", str(conflict.id), *sets, env={"CN_DSN": cn})
    assert found.returncode == 3
    assert "pw-secret" not in found.stdout + found.stderr


def test_values_that_do_not_fit_are_usage_errors(cn: str) -> None:
    two_people(cn)
    with pytest.raises(UsageError, match="--set level: no value of type integer"):
        resolve(cn, put(email="b@x.cn", level="many"))
    run_sql(cn, "COMMENT ON COLUMN users.level IS 'accountdb: secret'")
    with pytest.raises(UsageError) as refused:
        resolve(cn, put(email="b@x.cn", level="hunter2"))
    assert "hunter2" not in refused.value.message


def test_a_parked_row_that_fits_no_more_is_said_without_its_values(cn: str) -> None:
    owner = person(cn, 1, "a@x.cn")
    identity = "INSERT INTO identities (provider, external_id, user_uuid) VALUES ('hush', 'one', %s)"
    run_sql(cn, identity, owner)
    arrives(cn, identity, owner)
    run_sql(cn, "ALTER TABLE identities ALTER COLUMN provider TYPE integer USING 0")
    with pytest.raises(AccountdbError, match="do not fit") as refused:
        resolve(cn, put(external_id="two"))
    assert "hush" not in refused.value.message


def test_a_declared_secret_is_masked_everywhere(cn: str) -> None:
    run_sql(cn, "ALTER TABLE users ADD COLUMN pin text DEFAULT 'pin-hush'")
    run_sql(cn, "COMMENT ON COLUMN users.pin IS 'A door code. accountdb: secret'")
    run_sql(cn, "COMMENT ON COLUMN subscriptions.payment_qr IS 'accountdb: secret'")
    init(InitRequest(cn, Mode.NATIVE, "node_cn"))
    _, loser = two_people(cn)
    run_sql(
        cn,
        "INSERT INTO subscriptions (user_uuid, provider, payment_method, external_id, payment_qr, meta)"
        " VALUES (%s, 'p', 'c', 'e', 'qr-hush', '{\"a\": [{\"PASSWORD\": \"deep-hush\"}]}')",
        loser,
    )
    with one_open(cn) as (regions, conflict):
        request = put(email="b@x.cn", pin="new-hush")
        plan = planned(regions, resolving.plan(regions, conflict, request), applied=False)
        text = as_json(showing(regions, conflict)) + as_json(plan)
    assert "hush" not in text
    assert "pw-secret" not in text
    assert json.loads(as_json(plan))["steps"][0]["values"] == {"email": "b@x.cn", "pin": "***"}


def test_a_name_that_is_hard_to_write(cn: str) -> None:
    """Quoted, non-ASCII, percent signs; a predicate with one, an expression key, a generated column."""
    table(
        cn,
        "100% 表",
        '"名 %s" text NOT NULL, "half %" numeric(40, 20), r text,'
        ' doubled numeric GENERATED ALWAYS AS ("half %" * 2) STORED',
        """CREATE UNIQUE INDEX "索引%" ON public."100% 表" (lower("名 %s")) WHERE "名 %s" NOT LIKE '%%free'""",
        """CREATE UNIQUE INDEX "z" ON public."100% 表" (doubled)""",
    )
    exact = "1.00000000000000000001"
    insert = """INSERT INTO public."100%% 表" (uuid, "名 %%s", "half %%") VALUES (%s, %s, %s)"""
    run_sql(cn, insert, key(1), "One", "3")
    arrives(cn, insert, key(2), "ONE", exact)
    assert value(cn, 'SELECT count(*) FROM public."100% 表"') == 1
    with pytest.raises(AccountdbError, match="名 %s one is taken in cn"):
        resolve(cn, put(**{"名 %s": "one"}))
    with pytest.raises(AccountdbError, match="is taken in cn"):
        resolve(cn, put(**{"名 %s": "two", "half %": "3.0"}))
    resolve(cn, put(**{"名 %s": "two"}))
    found = rows(cn, 'SELECT "名 %s", "half %"::text, version FROM public."100% 表" ORDER BY 1 DESC')
    assert found[0] == ("two", exact, 1), "no digit is lost"


def test_a_merge_goes_as_deep_as_the_references_do(cn: str) -> None:
    """A twin's own children move too, and each tombstone names its own winner, leaves none."""
    table(cn, "profile", "owner uuid UNIQUE NOT NULL REFERENCES public.users ON DELETE CASCADE, sponsor uuid"
          " REFERENCES public.users ON DELETE SET NULL")  # fmt: skip
    table(cn, "photo", "profile uuid NOT NULL REFERENCES public.profile ON DELETE CASCADE, name text,"
          " UNIQUE (profile, name)")  # fmt: skip
    winner, loser = two_people(cn)
    stranger = person(cn, 3, "c@x.cn")
    for number, owner, sponsor in ((11, winner, loser), (12, loser, stranger), (13, stranger, loser)):
        run_sql(cn, "INSERT INTO profile (uuid, owner, sponsor) VALUES (%s, %s, %s)", key(number), owner, sponsor)
    for number, profile, name in ((21, 11, "me"), (22, 12, "me"), (23, 12, "dog")):
        run_sql(cn, "INSERT INTO photo (uuid, profile, name) VALUES (%s, %s, %s)", key(number), key(profile), name)
    resolve(cn, MERGE)
    assert rows(cn, "SELECT uuid, owner, sponsor FROM profile ORDER BY uuid") == [
        (key(11), winner, winner),
        (key(13), stranger, winner),
    ]
    assert rows(cn, "SELECT uuid, profile FROM photo ORDER BY uuid") == [(key(21), key(11)), (key(23), key(11))]
    dead = rows(cn, "SELECT table_name, row_key, winner FROM accountdb.tombstone ORDER BY 1")
    assert dead == [("photo", key(22), None), ("profile", key(12), key(11)), ("users", loser, winner)]
    kept = rows(cn, "SELECT table_name FROM accountdb.conflict WHERE kind = 'merged' ORDER BY 1")
    assert kept == [("photo",), ("profile",), ("users",)]
    assert value(cn, "SELECT current_setting('accountdb.merged_into', true)") in (None, "")


def test_a_table_outside_the_contract_stops_a_merge(cn: str) -> None:
    two_people(cn)
    run_sql(cn, "CREATE TABLE public.note (user_uuid uuid REFERENCES public.users ON DELETE CASCADE)")
    with pytest.raises(AccountdbError, match=r"public\.note refers to users and is not under the row contract"):
        resolve(cn, MERGE)
    with one_open(cn) as (regions, conflict):
        ways = {way.option: way.possible for way in showing(regions, conflict).ways}
    assert ways == {"--set email=VALUE": True, "--merge-accounts": False, "--dismiss": True}


def test_an_account_that_is_gone_is_neither_merged_nor_brought_back(cn: str) -> None:
    _, loser = two_people(cn)
    run_sql(cn, "DELETE FROM users WHERE uuid = %s", loser)
    for request in (MERGE, put(email="b@x.cn")):
        with pytest.raises(AccountdbError) as refused:
            resolve(cn, request)
        assert "--dismiss" in (refused.value.hint or "")
    assert resolve(cn, DISMISS).steps == ()
    assert resolutions(cn) == 1


def test_a_winner_that_was_merged_meanwhile_is_followed(cn: str) -> None:
    winner, middle = two_people(cn)
    last = key(3)
    arrives(cn, "INSERT INTO users (uuid, username, password) VALUES (%s, 'USER 2', 'x')", last)
    with opened({"cn": cn}) as regions:
        email, username = sorted(reading.open_ones(regions), key=lambda c: c.row_key)
        resolving.apply(regions, resolving.plan(regions, email, MERGE))
        resolving.apply(regions, resolving.plan(regions, username, MERGE))
    assert rows(cn, "SELECT uuid FROM users") == [(winner,)]
    assert rows(cn, "SELECT row_key, winner FROM accountdb.tombstone ORDER BY 1") == [(middle, winner), (last, winner)]


def test_an_orphan_gets_another_parent(cn: str) -> None:
    owner = person(cn, 1, "a@x.cn")
    orphan = "INSERT INTO sessions (uuid, token, expires_at, user_uuid) VALUES (%s, 'tok-secret', now(), %s)"
    arrives(cn, orphan, key(9), key(7))
    with one_open(cn, "orphan") as (regions, conflict):
        assert "is not here (user_uuid" in showing(regions, conflict).task.sentence
    with pytest.raises(UsageError, match="is about user_uuid"):
        resolve(cn, put(token="other"), "orphan")
    with pytest.raises(AccountdbError, match="there is no such row in users in cn"):
        resolve(cn, put(user_uuid=str(key(7))), "orphan")
    with pytest.raises(UsageError, match="no two accounts"):
        resolve(cn, MERGE, "orphan")
    resolve(cn, put(user_uuid=str(owner)), "orphan")
    assert rows(cn, "SELECT user_uuid, token FROM sessions") == [(owner, "tok-secret")]


def test_a_change_that_could_not_be_applied_is_written_as_it_should_be(cn: str) -> None:
    run_sql(cn, "ALTER TABLE users ADD CONSTRAINT short CHECK (length(email) < 10)")
    person(cn, 4, "far.too.long@example.cn", remote=True)
    resolve(cn, put(email="d@x.cn"), "unknown")
    assert value(cn, "SELECT email FROM users WHERE uuid = %s", key(4)) == "d@x.cn"


def test_ids_are_found_by_any_prefix_that_is_enough(cn: str) -> None:
    two_people(cn)
    insert = "INSERT INTO accountdb.conflict (id, kind, table_schema, table_name, row_key, rule) VALUES"
    run_sql(cn, f"{insert} ('aaaa0000-0000-4000-8000-000000000001', 'odd', 'public', 'gone', gen_random_uuid(), 'r')")
    run_sql(cn, f"{insert} ('aaaab000-0000-4000-8000-000000000002', 'odd', 'public', 'gone', gen_random_uuid(), 'r')")
    with opened({"cn": cn}) as regions:
        assert reading.find(regions, "AAAA0").kind == "odd"
        assert reading.find(regions, "aaaab000-00").table == "gone"
        assert showing(regions, reading.find(regions, "aaaa0")).task.open is False
        for wrong, reason in (("aaaa", "beginning of 2"), ("xyz", "no conflict id"), ("", "no"), ("12345678", "no")):
            with pytest.raises(UsageError, match=reason):
                reading.find(regions, wrong)


def test_a_role_that_does_not_own_the_record_sees_nothing(cn: str, databases: Databases) -> None:
    two_people(cn)
    with connect(cn, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS curious")
        conn.execute("CREATE ROLE curious LOGIN PASSWORD 'curious'")
    other = as_role(cn, "user=curious password=curious")
    with pytest.raises(MissingRightError, match="may not read accountdb"), opened({"cn": other}):
        pass
    with pytest.raises(MissingRightError, match="not prepared"), opened({"cn": databases.empty()}):
        pass
    with pytest.raises(ConnectError, match="cn: cannot connect"), opened({"cn": "host=127.0.0.1 port=1"}):
        pass
    with opened({"cn": cn, "global": "host=127.0.0.1 port=1"}) as regions:
        assert [r.name for r in regions.answering] == ["cn"]
        assert regions.silent["global"].startswith("global: cannot connect")


def test_the_owner_resolves_without_being_superuser(cn: str) -> None:
    two_people(cn)
    with connect(cn, autocommit=True) as conn:
        conn.execute("CREATE ROLE keeper LOGIN PASSWORD 'keeper' IN ROLE account")
    owner = as_role(cn, "user=keeper password=keeper")
    resolve(owner, MERGE)
    assert value(cn, "SELECT count(*) FROM users") == 1
