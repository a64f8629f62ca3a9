"""migratectl clean: every kind of left-over goes, and nothing that is in use does."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from accountdb.lab import Lab
from accountdb.migrations.locks import LOCK_KEY
from accountdb.pg.connect import connect
from accountdb.pg.dsn import with_params
from accountdb.setup.cleaning import run
from accountdb.setup.cleaning.model import Action
from tests.conftest import Databases, as_role, eventually, migratectl, rows, run_sql, value, words_and_environment
from tests.integration.cleaning import listed

# 63 bytes, with what breaks careless quoting.
HOSTILE = 'a."%s%%;--\\' + "é\n'" + "x" * 49
INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"


def run_all(dsn: str, *statements: str) -> None:
    for statement in statements:
        run_sql(dsn, statement)


def fail_to_build(dsn: str, schema: str, table: str, index: str) -> None:
    """An invalid unique index, made by a build that met two equal rows."""
    name = sql.Identifier(schema, table)
    with connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} (x integer)").format(name))
        conn.execute(sql.SQL("INSERT INTO {} VALUES (1), (1)").format(name))
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute(sql.SQL("CREATE UNIQUE INDEX CONCURRENTLY {} ON {} (x)").format(sql.Identifier(index), name))


@contextmanager
def transaction(dsn: str, *statements: str) -> Iterator[None]:
    """Another session, in a transaction that stays open."""
    with connect(dsn) as conn:
        for statement in statements:
            conn.execute(statement.encode())
        yield
        conn.rollback()


@contextmanager
def building(dsn: str, statement: str) -> Iterator[None]:
    """Another session that runs one statement, for as long as the block lasts at least."""

    def work() -> None:
        with connect(dsn, autocommit=True) as conn:
            conn.execute(statement.encode())

    worker = threading.Thread(target=work)
    worker.start()
    try:
        eventually(lambda: rows(dsn, INVALID), what="the invalid index of a build")
        yield
    finally:
        worker.join(30)
        assert not worker.is_alive()


@pytest.fixture
def owner(migrated: str, native_lab: Lab) -> str:
    """The migrated database as the ordinary role that owns it."""
    return as_role(migrated, native_lab.region("cn").app_dsn)


def test_a_region_that_is_in_order_has_nothing_to_clean(databases: Databases, native_lab: Lab) -> None:
    """Neither what accountdb has installed nor what bears names like its own."""
    for mode in ("pgsync", "native"):
        dsn = databases.empty()
        app = as_role(dsn, native_lab.region("cn").app_dsn)
        node = ("--node", "node_cn") if mode == "native" else ()
        assert migratectl("init", "--dsn", app, "--admin-dsn", dsn, "--mode", mode, *node).returncode == 0
        run_all(
            app,
            "CREATE TABLE public.guard_users (accountdb_scratch integer)",
            "CREATE VIEW public.accountdb_scratch_0123456789abcdef AS SELECT 1 AS one",
            "CREATE FUNCTION public.guard_mine() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END'",
            "CREATE FUNCTION accountdb.guard_count(integer) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
            "CREATE SEQUENCE public.capture_users",
        )
        for found in (migratectl("clean", "--dsn", dsn, "--yes"), migratectl("clean", "--dsn", app, "--yes")):
            assert found.returncode == 0, found.stderr
            assert ": remove: " not in found.stdout
            assert "nothing to clean" in found.stderr
        guards = "guards of 5 tables: keep" if mode == "native" else ""
        assert guards in listed("--dsn", app, status=0)


def test_an_empty_database_has_nothing_to_clean(database: str) -> None:
    found = migratectl("clean", "--dsn", database, "--yes")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "nothing to clean\n")


def test_a_failed_build_is_listed_and_then_removed(migrated: str, owner: str) -> None:
    before = rows(migrated, "SELECT oid FROM pg_class WHERE relkind = 'i' ORDER BY 1")
    fail_to_build(owner, "public", HOSTILE, HOSTILE[::-1])
    fail_to_build(owner, "public", "select", "from")
    told = migratectl("clean", "--dsn", owner)
    assert told.returncode == 1
    assert told.stdout.count("invalid index") == len(told.stdout.splitlines()) == 2, "one line for each"
    assert "invalid index public.from of public.select: remove: " in told.stdout
    assert told.stdout.count("DROP INDEX CONCURRENTLY ") == 2
    assert "2 left-overs, --yes does what is listed" in told.stderr
    assert len(rows(migrated, INVALID)) == 2, "nothing goes unasked"
    done = migratectl("clean", "--dsn", owner, "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("removed: invalid index") == 2
    assert rows(migrated, "SELECT oid FROM pg_class WHERE relkind = 'i' ORDER BY 1") == before
    with connect(migrated) as conn:
        found = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", HOSTILE))).fetchone()
        assert found == (2,)
    assert listed("--dsn", owner, "--yes", status=0) == ""


@pytest.mark.parametrize("builder", ["owner", "administrator"])
def test_an_index_that_is_being_built_is_left_alone(migrated: str, owner: str, builder: str) -> None:
    """Also one of another role's, of which an ordinary role sees little."""
    run_all(owner, "CREATE TABLE public.t (x integer)", "INSERT INTO public.t VALUES (1)")
    dsn = owner if builder == "owner" else migrated
    with connect(owner) as writer:
        writer.execute("INSERT INTO public.t VALUES (2)")
        with building(dsn, "CREATE UNIQUE INDEX CONCURRENTLY t_x ON public.t (x)"):
            assert "works on its table and may be building it" in listed("--dsn", owner, "--yes", status=0)
            writer.commit()
    assert rows(migrated, INVALID) == []
    assert value(migrated, "SELECT to_regclass('public.t_x') IS NOT NULL")


def test_what_a_broken_rebuild_leaves_goes_and_the_index_stays(migrated: str, owner: str) -> None:
    """Also of the table that PostgreSQL keeps large values in."""
    run_all(owner, "CREATE TABLE public.t (x text PRIMARY KEY)", "INSERT INTO public.t VALUES ('a')")
    with connect(owner) as writer, connect(owner, autocommit=True) as builder:
        writer.execute("INSERT INTO public.t VALUES ('b')")
        builder.execute("SET statement_timeout = '500ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            builder.execute("REINDEX TABLE CONCURRENTLY public.t")
        writer.commit()
    left = sorted(name for (name,) in rows(owner, INVALID))
    assert len(left) == 2
    assert left[0].startswith("pg_toast.pg_toast_")
    assert left[1] == "t_pkey_ccnew"
    told = listed("--dsn", owner, "--yes", status=1)
    assert "by hand: " in told.splitlines()[0]
    assert "this role may not: an administrator runs it" in told.splitlines()[0]
    assert rows(owner, INVALID) == [(left[0],)]
    listed("--dsn", migrated, "--yes", status=0)
    assert rows(owner, INVALID) == []
    assert value(owner, "SELECT count(*) FROM pg_constraint WHERE conname = 't_pkey'") == 1


def test_indexes_that_something_needs_are_told_and_kept(migrated: str) -> None:
    run_all(
        migrated,
        "CREATE TABLE public.parts (x integer) PARTITION BY RANGE (x)",
        "CREATE TABLE public.part PARTITION OF public.parts FOR VALUES FROM (1) TO (9)",
        "CREATE INDEX parts_x ON ONLY public.parts (x)",
        "CREATE INDEX parts_all ON public.parts (x)",
        "CREATE TABLE public.keyed (x integer CONSTRAINT keyed_key UNIQUE, y integer NOT NULL)",
        "CREATE UNIQUE INDEX keyed_y ON public.keyed (y)",
        "ALTER TABLE public.keyed REPLICA IDENTITY USING INDEX keyed_y",
        "CREATE SCHEMA theirs",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN"
        " ('public.part_x_idx'::regclass, 'public.keyed_key'::regclass, 'public.keyed_y'::regclass)",
    )
    fail_to_build(migrated, "theirs", "t", "t_x")
    before = rows(migrated, INVALID)
    told = listed("--dsn", migrated, "--yes", status=1)
    assert rows(migrated, INVALID) == before
    by_name = {line.split()[2]: line for line in told.splitlines()}
    assert "keep: it waits for its partitions' indexes" in by_name["public.parts_x"]
    assert "keep: it is a part of a partitioned index" in by_name["public.part_x_idx"]
    assert "by hand: " in by_name["public.keyed_key"]
    assert 'ALTER TABLE "public"."keyed" DROP CONSTRAINT "keyed_key"' in by_name["public.keyed_key"]
    assert 'REINDEX INDEX CONCURRENTLY "public"."keyed_y"' in by_name["public.keyed_y"]
    assert "schema theirs is not accountdb's" in by_name["theirs.t_x"]


def test_what_dropped_tables_leave_of_guards_and_captures(databases: Databases, native_lab: Lab) -> None:
    admin = databases.empty()
    dsn = as_role(admin, native_lab.region("cn").app_dsn)
    assert migratectl("init", "--dsn", dsn, "--admin-dsn", admin, "--mode", "pgsync", "--node", "n").returncode == 0
    name = HOSTILE.replace("\n", "n")
    with connect(dsn, autocommit=True) as conn:
        table = sql.Identifier("public", name)
        conn.execute(sql.SQL("CREATE TABLE {} (LIKE public.users INCLUDING ALL)").format(table))
        for function in ("set_updated_at", "bump_version"):
            trigger = sql.Identifier(f"trg_x_{function}")
            conn.execute(
                sql.SQL("CREATE TRIGGER {} BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION public.{}()").format(
                    trigger, table, sql.Identifier(function)
                )
            )
    for mode in ("native", "pgsync"):
        prepared = migratectl("init", "--dsn", dsn, "--admin-dsn", admin, "--mode", mode, "--node", "n")
        assert prepared.returncode == 0, prepared.stderr
    functions = "SELECT proname FROM pg_proc WHERE pronamespace = 'accountdb'::regnamespace ORDER BY 1"
    kept = [row for row in rows(dsn, functions) if "_." not in row[0]]
    with connect(dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO accountdb.change_reader (job, destination, table_schema, table_name, passed, offered)"
            " SELECT 'job', 'there', 'public', t, pg_current_snapshot(), pg_current_snapshot()"
            " FROM unnest(%s::text[]) AS t",
            ([name, "users"],),
        )
        conn.execute(sql.SQL("DROP TABLE {}").format(table))
    told = listed("--dsn", dsn, status=1)
    assert told.count("function accountdb.") == 3
    assert told.count("note accountdb.") == 2
    assert listed("--dsn", dsn, "--yes", status=0) == told
    assert rows(dsn, functions) == kept
    assert rows(dsn, "SELECT table_name FROM accountdb.change_reader") == [("users",)]
    assert value(dsn, "SELECT count(*) FROM accountdb.change_capture") == 5
    assert listed("--dsn", dsn, "--yes", status=0) == ""


def test_our_triggers_go_on_in_their_right_mode_and_others_are_told(databases: Databases, native_lab: Lab) -> None:
    admin = databases.empty()
    dsn = as_role(admin, native_lab.region("cn").app_dsn)
    for mode in ("pgsync", "native"):
        done = migratectl("init", "--dsn", dsn, "--admin-dsn", admin, "--mode", mode, "--node", "n")
        assert done.returncode == 0, done.stderr
    run_all(
        dsn,
        "CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        f'CREATE TRIGGER "trg_{"y" * 59}" AFTER INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.audit()',
    )
    modes = "SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger ORDER BY 1, 2"
    before = rows(dsn, modes)
    run_all(dsn, "ALTER TABLE public.users DISABLE TRIGGER USER")
    run_all(admin, "ALTER TABLE public.sessions DISABLE TRIGGER ALL")
    told = listed("--dsn", dsn, "--yes", status=1)
    assert f"trigger trg_{'y' * 59} on public.users: keep: it is disabled (it is not accountdb's)" in told
    line = next(line for line in told.splitlines() if "constraint sessions_user_uuid_fkey on public.sessions" in line)
    assert ": by hand: " in line
    for statement in line.rpartition("not checked): ")[2].split("; "):
        run_sql(admin, statement)
    run_sql(dsn, f'ALTER TABLE public.users ENABLE TRIGGER "trg_{"y" * 59}"')
    assert rows(dsn, modes) == before
    assert "trigger" not in listed("--dsn", dsn, status=0)
    run_sql(dsn, "ALTER TABLE public.users ENABLE TRIGGER accountdb_guard")
    assert "it is in mode O, not R" in listed("--dsn", dsn, "--yes", status=0)
    assert rows(dsn, modes) == before


def test_fences_stay_while_somebody_migrates(owner: str) -> None:
    run_all(
        owner,
        "CREATE FUNCTION accountdb.fence() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        f'CREATE TABLE public."{HOSTILE.replace(chr(34), chr(34) * 2)}" (x integer)',
        "CREATE TRIGGER accountdb_fence BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION accountdb.fence()",
        f'CREATE TRIGGER accountdb_fence BEFORE INSERT ON public."{HOSTILE.replace(chr(34), chr(34) * 2)}"'
        " FOR EACH ROW EXECUTE FUNCTION accountdb.fence()",
    )
    fences = "SELECT count(*) FROM pg_trigger WHERE tgname = 'accountdb_fence'"
    with connect(owner, autocommit=True) as migrating:
        migrating.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        told = listed("--dsn", owner, "--yes", status=0)
        assert told.count("fence accountdb_fence on ") == 2
        assert "migrates and may need it" in told
        assert value(owner, fences) == 2
    eventually(lambda: "and none runs now" in migratectl("clean", "--dsn", owner).stdout)
    listed("--dsn", owner, "--yes", status=0)
    assert value(owner, fences) == 0
    assert value(owner, "SELECT to_regprocedure('accountdb.fence()') IS NULL")


def test_a_subscription_that_waits_in_another_mode_is_forgotten(owner: str) -> None:
    run_all(
        owner,
        "INSERT INTO accountdb.node (name, mode) VALUES ('n', 'pgsync')",
        "INSERT INTO accountdb.pending_subscription (name, mode) VALUES ('it''s %s', 'native')",
    )
    assert "waiting subscription" in listed("--dsn", owner, "--yes", status=0)
    assert value(owner, "SELECT count(*) FROM accountdb.pending_subscription") == 0
    run_all(
        owner,
        "UPDATE accountdb.node SET mode = 'native'",
        "INSERT INTO accountdb.pending_subscription (name, mode) VALUES ('real', 'native')",
    )
    assert listed("--dsn", owner, "--yes", status=0) == ""
    assert value(owner, "SELECT count(*) FROM accountdb.pending_subscription") == 1


def test_a_role_without_rights_is_told_who_has_them(migrated: str, native_lab: Lab) -> None:
    password = "x"
    run_all(
        migrated,
        f"DROP ROLE IF EXISTS clean_stranger; CREATE ROLE clean_stranger LOGIN PASSWORD '{password}'",
        "ALTER TABLE public.users DISABLE TRIGGER trg_users_bump_version",
        "CREATE FUNCTION accountdb.guard_gone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END'",
    )
    run_sql(migrated, "REVOKE SELECT ON accountdb.pending_subscription FROM PUBLIC")
    fail_to_build(migrated, "public", "t", "t_x")
    stranger = with_params(migrated, user="clean_stranger", password=password)
    found = migratectl("clean", "--dsn", stranger, "--yes")
    assert found.returncode == 1
    assert len(found.stdout.splitlines()) == found.stdout.count(": by hand: ") == 3
    assert found.stdout.count("this role may not: postgres or an administrator runs it") == 2
    assert found.stdout.count("this role may not: account or an administrator runs it") == 1
    assert "not looked at, this role may not: accountdb.pending_subscription" in found.stderr
    assert "3 left-overs, by hand" in found.stderr
    assert len(rows(migrated, INVALID)) == 1


def test_what_changes_after_the_list_is_not_touched_and_the_rest_goes_on(owner: str) -> None:
    fail_to_build(owner, "public", "a", "a_x")
    fail_to_build(owner, "public", "b", "b_x")

    def mend(plan: run.Plan) -> None:
        assert [one.action for one in plan.leftovers] == [Action.REMOVE] * 2
        run_all(owner, "DROP INDEX public.a_x", "DELETE FROM public.a", "CREATE UNIQUE INDEX a_x ON public.a (x)")

    outcomes: list[run.Outcome] = []
    found = run.clean({"": owner}, confirmed=True, on_found=mend, on_outcome=outcomes.append)
    assert (found.left, found.failed) == (1, 1)
    assert [bool(outcome.error) for outcome in outcomes] == [True, False]
    assert "has changed since it was listed" in outcomes[0].error
    assert rows(owner, INVALID) == []
    assert value(owner, "SELECT to_regclass('public.a_x') IS NOT NULL")


def test_a_failure_is_told_ends_with_status_3_and_keeps_no_other(migrated: str, owner: str) -> None:
    run_all(
        owner,
        "CREATE FUNCTION accountdb.guard_a() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END'",
        "CREATE FUNCTION accountdb.guard_b() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END'",
    )
    run_all(
        migrated,
        """
        CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_identity LIKE '%guard_a%') THEN
                RAISE EXCEPTION 'not this one';
            END IF;
        END $$
        """,
        "CREATE EVENT TRIGGER refuse ON sql_drop EXECUTE FUNCTION public.refuse()",
    )
    found = migratectl("clean", "--dsn", owner, "--yes", "--json")
    assert found.returncode == 3, found.stdout + found.stderr
    document = json.loads(found.stdout)
    assert (document["left"], document["failed"]) == (1, 1)
    assert [(one["name"], one["result"], one["error"]) for one in document["leftovers"]] == [
        ("accountdb.guard_a()", "failed", "not this one"),
        ("accountdb.guard_b()", "done", ""),
    ]
    assert "failed: function accountdb.guard_a(): not this one" in found.stderr
    assert "error: 1 could not be removed" in found.stderr


def test_a_run_that_is_killed_is_finished_by_the_next(owner: str) -> None:
    fail_to_build(owner, "public", "t", "t_x")
    words, environment = words_and_environment("migratectl", ["clean", "--dsn", owner, "--yes"], None)
    with connect(owner) as reader:
        reader.execute("SELECT FROM public.t")
        with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            waiting = "SELECT FROM pg_stat_activity WHERE query LIKE 'DROP INDEX CONC%' AND wait_event_type = 'Lock'"
            eventually(lambda: rows(owner, waiting))
            running.kill()
        reader.rollback()
    eventually(lambda: not rows(owner, waiting.partition(" AND ")[0]))
    again = migratectl("clean", "--dsn", owner, "--yes")
    assert again.returncode == 0, again.stderr
    assert rows(owner, INVALID) == []
    assert value(owner, "SELECT count(*) FROM public.t") == 2


def test_a_lock_that_is_given_back_is_waited_for(owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_sql(owner, "ALTER TABLE public.users DISABLE TRIGGER trg_users_bump_version")
    with connect(owner) as writer:
        writer.execute("LOCK TABLE public.users IN SHARE MODE")
        monkeypatch.setattr(run, "_TRIES", 1)
        kept = run.clean({"": owner}, confirmed=True)
        assert "other sessions held a lock" in kept.leftovers[0].error
        writer.execute("SELECT 1")
        release = threading.Timer(2.5, writer.rollback)
        release.start()
        found = migratectl("clean", "--dsn", owner, "--yes")
        release.join()
    assert found.returncode == 0, found.stderr
    assert "enabled: trigger trg_users_bump_version on public.users" in found.stderr


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--slot", "nowhere"], 2, "there is no slot nowhere"),
        (["--table", "users"], 2, "No such option"),
    ],
)
def test_wrong_input(owner: str, options: Sequence[str], status: int, said: str) -> None:
    found = migratectl("clean", "--dsn", owner, "--yes", *options)
    assert found.returncode == status
    assert said in found.stderr


def test_one_database_is_not_two_regions(owner: str) -> None:
    found = migratectl("clean", "--cn", owner, "--global", owner, "--yes")
    assert found.returncode == 4
    assert "lead to the same database" in found.stderr
