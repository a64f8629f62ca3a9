"""migratectl check: two regions side by side, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from accountdb.lab import Lab
from accountdb.pg.dsn import with_params
from tests.conftest import CONTRACT, Databases, as_role, migratectl, run_sql

pytest_plugins = ("tests.integration.conftest_drift",)

# 63 bytes, of which some are quotes, dots, percent signs, a newline and what is not ASCII.
HOSTILE = "ü \"q\".%s {x} 'a' \\ \n select"
HOSTILE += "x" * (63 - len(HOSTILE.encode()))
ESCAPED = HOSTILE.replace("\n", "\\n")


@dataclass(frozen=True)
class Two:
    """Two databases with the newest schema, as the superuser."""

    cn: str
    global_: str

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        return migratectl("check", "--cn", self.cn, "--global", self.global_, *options)

    def json(self, *options: str) -> dict[str, Any]:
        done = self.check("--json", *options)
        assert done.returncode in (0, 1), done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["equal"] == (done.returncode == 0)
        return found


@pytest.fixture
def two(databases: Databases) -> Two:
    return Two(databases.migrated(), databases.migrated())


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def objects(found: dict[str, Any]) -> list[str]:
    return [f"{each['kind']} {each['name']}" for each in found["findings"]]


def test_equal_regions_are_equal_and_it_says_what_was_looked_at(two: Two) -> None:
    done = two.check()
    assert (done.returncode, done.stdout) == (0, "")
    assert "15 tables, 127 columns" in done.stderr
    assert "guards, row contract: a region is in mode pgsync" in done.stderr
    assert done.stderr.endswith("\nequal\n")


def test_each_object_tells_what_differs_and_who_left_the_schema(two: Two) -> None:
    run_sql(two.cn, "ALTER TABLE users ALTER level SET DEFAULT 10; DROP INDEX users_email_lower_uk")
    run_sql(two.global_, "CREATE TABLE notes (id integer PRIMARY KEY); ALTER TABLE users ADD phone text")
    run_sql(
        two.global_,
        "CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    )
    done = two.check()
    assert done.returncode == 1
    assert done.stdout.startswith(
        "table public.notes: only in global, with 1 column, 1 constraint\n"
        "  form: table\n"
        "  persistence: permanent\n"
        "  accountdb's schema says nothing about it\n"
        "column public.users.level\n"
        "  default: cn 10 | global 20\n"
        "  cn differs from accountdb's schema\n"
        "column public.users.phone: only in global\n"
        "  not_null: false\n"
        "  type: text\n"
        "  global differs from accountdb's schema\n"
        "index public.users.users_email_lower_uk: only in global\n"
        "  definition: CREATE UNIQUE INDEX users_email_lower_uk ON public.users USING btree (lower(email))"
        " WHERE (email IS NOT NULL)\n"
        "  valid: true\n"
        "  cn differs from accountdb's schema\n"
        "function public.set_updated_at()\n"
        "  definition:\n"
        "    --- cn\n"
        "    +++ global\n"
        "    @@ -1,"
    ), done.stdout
    assert "\n    +AS $function$BEGIN RETURN NEW; END$function$\n" in done.stdout
    assert done.stdout.endswith("\n  global differs from accountdb's schema\n")
    assert done.stderr.endswith("\n5 findings\n")


def test_both_may_have_left_the_schema(two: Two) -> None:
    run_sql(two.cn, "ALTER TABLE users ALTER level SET DEFAULT 10")
    run_sql(two.global_, "ALTER TABLE users ALTER level SET DEFAULT 30")
    assert "  cn and global differ from accountdb's schema\n" in two.check().stdout


def test_the_json_form(two: Two) -> None:
    run_sql(two.cn, "ALTER TABLE users ALTER level SET DEFAULT 10")
    run_sql(two.global_, "GRANT SELECT ON sessions TO account WITH GRANT OPTION; CREATE TYPE extra AS (a integer)")
    found = two.json()
    assert list(found) == ["equal", "sides", "findings", "ignored", "notes", "compared", "not_compared"]
    assert found["sides"] == ["cn", "global"]
    assert found["compared"]["table"] == 15
    assert found["ignored"] == found["notes"] == []
    assert {"what": "other schemas", "why": "only the account schemas are compared"} in found["not_compared"]
    assert found["findings"] == [
        {
            "kind": "composite",
            "schema": "public",
            "name": "extra",
            "present": ["global"],
            "absent": ["cn"],
            "attributes": [
                {"attribute": "definition", "values": {"global": "a integer"}, "deviates": None},
                {"attribute": "grant to PUBLIC", "values": {"global": "USAGE"}, "deviates": None},
            ],
            "deviates": None,
        },
        {
            "kind": "column",
            "schema": "public",
            "name": "users.level",
            "present": ["cn", "global"],
            "absent": [],
            "attributes": [{"attribute": "default", "values": {"cn": "10", "global": "20"}, "deviates": ["cn"]}],
            "deviates": ["cn"],
        },
    ]


def test_the_owner_is_not_told_as_a_grantee(two: Two) -> None:
    run_sql(two.global_, "ALTER TABLE sessions OWNER TO postgres")
    assert two.check().returncode == 0


def test_an_ignore_file(two: Two, tmp_path: Path) -> None:
    run_sql(two.cn, "ALTER TABLE users ALTER level SET DEFAULT 10; COMMENT ON TABLE users IS 'x'")
    run_sql(two.global_, "CREATE TABLE notes (id integer); GRANT SELECT ON users TO PUBLIC")
    file = tmp_path / "ignore.yaml"
    file.write_text(
        "- {kind: table, schema: public, name: notes, reason: only here}\n"
        "- {kind: table, name: 'u*', attribute: grant to *, reason: it is meant}\n"
        "- {kind: '*', name: 'gone.*', reason: as it was}\n",
        encoding="utf-8",
    )
    done = two.check("--ignore", str(file))
    assert done.returncode == 1
    assert done.stdout == (
        "table public.users\n  comment: cn x | global none\n  accountdb's schema says nothing about it\n"
        "column public.users.level\n  default: cn 10 | global 20\n  cn differs from accountdb's schema\n"
    )
    assert "ignore rule table public.notes: 1 ignored (only here)\n" in done.stderr
    assert "ignore rule table *.u*: grant to *: 1 ignored (it is meant)\n" in done.stderr
    assert "ignore rule * *.gone.*: matches nothing (as it was)\n" in done.stderr
    file.write_text("- {kind: '*', name: '*', reason: all}\n", encoding="utf-8")
    assert two.check("--ignore", str(file)).returncode == 0
    assert two.json("--ignore", str(file))["ignored"] == [{"rule": "* *.*", "reason": "all", "objects": 3}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {kind: table, name: a}\n", "rule 1: reason is missing"),
        ("- {kind: table, name: a, reason: ' '}\n", "rule 1: reason "),
        ("- {kind: table, name: a, reason: b, nmae: c}\n", "rule 1: unknown key 'nmae'"),
        (
            "- {kind: table, name: a, reason: b}\n- {kind: tabel, name: a, reason: b}\n",
            "rule 2: there is no kind 'tabel'",
        ),
        ("- {kind: table, name: 1, reason: b}\n", "rule 1: name "),
        ("- table\n", "rule 1: "),
        ("kind: table\n", "the file is not a list"),
        ("- {kind: [\n", "line 2: "),
        ("\xff", "byte 0 is not UTF-8"),
    ],
)
def test_a_broken_ignore_file_ends_it_before_a_server_is_asked(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "ignore.yaml"
    file.write_bytes(text.encode("latin-1"))
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    done = migratectl("check", "--cn", nowhere, "--global", nowhere, "--ignore", str(file))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --ignore {file}: {said}"), done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_an_ignore_file_that_is_not_there(tmp_path: Path) -> None:
    done = migratectl("check", "--cn", "dbname=a", "--global", "dbname=b", "--ignore", str(tmp_path / "gone"))
    assert (done.returncode, "No such file" in done.stderr) == (2, True)


def test_a_region_that_cannot_be_reached_is_named(two: Two) -> None:
    gone = with_params(two.global_, dbname="gone", password="QXZW-geheim")
    done = migratectl("check", "--cn", two.cn, "--global", gone)
    assert done.returncode == 3
    assert done.stderr.startswith("error: --global: cannot connect to ")
    assert done.stdout == ""
    assert "QXZW" not in done.stderr
    assert migratectl("check", "--cn", two.cn).returncode == 2


def test_a_region_that_is_locked_is_named(two: Two) -> None:
    run_sql(two.global_, "CREATE VIEW seen AS SELECT uuid FROM users")
    with psycopg.connect(two.global_) as other:
        other.execute("LOCK TABLE users")
        done = two.check()
    assert done.returncode == 3
    assert done.stderr.startswith("error: global: the structure could not be read in 5 s: another session has locked")


def test_one_database_is_not_two_regions(two: Two) -> None:
    done = migratectl("check", "--cn", two.cn, "--global", two.cn)
    assert done.returncode == 4
    assert "error: cn and global are the same database" in done.stderr


def test_regions_by_name_and_more_than_two(two: Two, databases: Databases) -> None:
    third = databases.migrated()
    run_sql(third, "ALTER TABLE users ALTER level SET DEFAULT 10")
    run_sql(two.global_, "CREATE TABLE notes (id integer)")
    done = migratectl("check", "--node", f"a={two.cn}", "--node", f"b={two.global_}", "--node", f"c={third}")
    assert done.returncode == 1
    assert done.stdout == (
        "table public.notes: only in b, with 1 column\n  form: table\n  persistence: permanent\n"
        "  accountdb's schema says nothing about it\n"
        "column public.users.level\n  default: a and b 20 | c 10\n  c differs from accountdb's schema\n"
    )


def test_an_ordinary_role_sees_the_same(two: Two, native_lab: Lab) -> None:
    run_sql(two.global_, "ALTER TABLE users ALTER level SET DEFAULT 10")
    ordinary = [as_role(dsn, native_lab.region("cn").app_dsn) for dsn in (two.cn, two.global_)]
    done = migratectl("check", "--cn", ordinary[0], "--global", ordinary[1])
    assert (done.returncode, done.stdout) == (1, two.check().stdout)


def test_a_role_that_may_nothing(two: Two) -> None:
    name = f"stranger_{os.getpid()}"
    run_sql(two.cn, f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    run_sql(two.cn, "REVOKE ALL ON SCHEMA public, accountdb FROM PUBLIC")
    run_sql(two.global_, "REVOKE ALL ON SCHEMA public, accountdb FROM PUBLIC")
    dsns = [with_params(dsn, user=name, password="x") for dsn in (two.cn, two.global_)]
    done = migratectl("check", "--cn", dsns[0], "--global", dsns[1])
    assert done.returncode == 0, done.stderr


HOSTILE_STATEMENTS = """
CREATE TABLE {n} ({n} text, id integer);
COMMENT ON TABLE {n} IS {l};
CREATE INDEX {i} ON {n} ({n});
CREATE FUNCTION {n}({n} integer) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
CREATE POLICY {n} ON {n} USING ({n} = {l});
CREATE RULE {n} AS ON DELETE TO {n} DO INSTEAD NOTHING;
CREATE STATISTICS {n} ON {n}, id FROM {n};
CREATE TYPE {c} AS ({n} integer);
CREATE PUBLICATION {n} FOR TABLE {n} ({n}) WHERE (id > 1);
GRANT SELECT ({n}) ON {n} TO {r}
"""


@pytest.fixture
def hostile_role(two: Two) -> Iterator[str]:
    role = 'PUBLIC"'
    run_sql(two.cn, f"CREATE ROLE {quoted(role)}")
    yield role
    for dsn in (two.cn, two.global_):
        run_sql(dsn, f"DROP OWNED BY {quoted(role)}")
    run_sql(two.cn, f"DROP ROLE {quoted(role)}")


def test_hostile_names_come_out_on_one_line_each(two: Two, hostile_role: str) -> None:
    words = {
        "n": quoted(HOSTILE),
        "l": "'" + HOSTILE.replace("'", "''").replace("\\", "\\") + "'",
        "i": quoted("i" + HOSTILE[:-1]),
        "c": quoted("c" + HOSTILE[:-1]),
        "r": quoted(hostile_role),
    }
    for statement in HOSTILE_STATEMENTS.strip().split(";\n"):
        run_sql(two.cn, statement.format(**words))
    only_cn = two.check()
    assert only_cn.returncode == 1
    assert f"table public.{ESCAPED}: only in cn, with 2 columns, 1 index, 1 rule, 1 policy\n" in only_cn.stdout
    heads = [line for line in only_cn.stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in heads] == ["composite", "table", "statistics", "function", "publication"]
    for statement in HOSTILE_STATEMENTS.strip().split(";\n"):
        run_sql(two.global_, statement.format(**words))
    assert two.check().returncode == 0
    run_sql(two.global_, f"REVOKE ALL ({words['n']}) ON {words['n']} FROM {words['r']}")
    (finding,) = two.json()["findings"]
    assert finding["kind"] == "column"
    assert [each["attribute"] for each in finding["attributes"]] == ['grant to "PUBLIC"""']


@pytest.mark.pglogical
def test_two_major_versions(two: Two, databases_15: Databases) -> None:
    other = databases_15.migrated()
    for dsn in (two.cn, other):
        run_sql(dsn, "GRANT ALL ON users TO account, PUBLIC; CREATE EXTENSION pg_stat_statements")
    done = migratectl("check", "--cn", two.cn, "--global", other)
    assert (done.returncode, done.stdout) == (0, "")
    assert "note: PostgreSQL is 17 in cn, 15 in global\n" in done.stderr
    assert "the privilege MAINTAIN: only PostgreSQL 17 and later have it\n" in done.stderr


def test_server_settings_that_must_be_equal_and_those_that_may_differ(two: Two) -> None:
    name = with_params(two.global_).split("dbname=")[1].split()[0]
    run_sql(two.global_, f"ALTER DATABASE {name} SET standard_conforming_strings = off")
    run_sql(two.global_, f"ALTER DATABASE {name} SET TimeZone = 'Asia/Shanghai'")
    done = two.check()
    assert done.stdout == "parameter standard_conforming_strings\n  value: cn on | global off\n"
    assert "in cn, Asia/Shanghai in global; it may differ\n" in done.stderr


def test_a_collation_of_its_own_is_told(databases: Databases) -> None:
    one, other = databases.empty(), databases.empty()
    name = with_params(other).split("dbname=")[1].split()[0]
    maintenance = with_params(other, dbname="postgres")
    run_sql(maintenance, f"DROP DATABASE {name}")
    run_sql(maintenance, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    run_sql(other, "COMMENT ON SCHEMA public IS E'caf\\xe9'")
    broken = Two(one, other).check()
    assert broken.returncode == 3
    assert 'error: global: invalid byte sequence for encoding "UTF8"' in broken.stderr
    run_sql(other, "COMMENT ON SCHEMA public IS 'standard public schema'")
    kinds = objects(Two(one, other).json())
    assert "parameter server_encoding" in kinds
    assert {kind.split()[0] for kind in kinds} == {"parameter"}


def guarded(two: Two) -> None:
    for name, dsn in (("node_cn", two.cn), ("node_global", two.global_)):
        done = migratectl("init", "--dsn", dsn, "--mode", "native", "--node", name)
        assert done.returncode == 0, done.stderr


def test_guards_and_row_contract_of_each_table(two: Two) -> None:
    guarded(two)
    assert two.check().returncode == 0
    run_sql(two.cn, "DROP TRIGGER accountdb_guard ON users; ALTER TABLE sessions DISABLE TRIGGER accountdb_guard")
    run_sql(two.global_, "ALTER TABLE identities ALTER version DROP NOT NULL")
    done = two.check()
    assert "guard public.users\n  state: cn missing | global installed\n" in done.stdout
    assert "guard public.sessions\n  state: cn disabled | global installed\n" in done.stdout
    assert "row contract public.identities\n  lacks: cn none | global column version is bigint NULL" in done.stdout
    assert objects(two.json()) == [
        "column identities.version",
        "guard sessions",
        "guard users",
        "row_contract identities",
    ]


def test_a_mode_of_its_own_is_one_finding(two: Two) -> None:
    done = migratectl("init", "--dsn", two.cn, "--mode", "native", "--node", "node_cn")
    assert done.returncode == 0, done.stderr
    assert two.check().stdout == "parameter mode\n  value: cn native | global pgsync\n"


def test_a_guard_that_both_lack_is_told_of_replicated_tables_only(two: Two) -> None:
    guarded(two)
    for dsn in (two.cn, two.global_):
        run_sql(dsn, f"CREATE TABLE devices ({CONTRACT}); DROP TRIGGER accountdb_guard ON users")
    assert two.check().returncode == 0
    for dsn in (two.cn, two.global_):
        run_sql(dsn, "CREATE PUBLICATION rep_all FOR TABLE users")
    done = two.check()
    assert (done.returncode, done.stdout) == (1, "guard public.users\n  state: missing (cn and global)\n")


def test_verify_has_the_same_form(two: Two, tmp_path: Path) -> None:
    for statement in (
        "GRANT SELECT ON users TO account WITH GRANT OPTION",
        "CREATE EXTENSION pgcrypto",
        "CREATE PUBLICATION p",
        "COMMENT ON INDEX users_email_lower_uk IS 'accountdb: park'",
        "COMMENT ON COLUMN users.email IS 'accountdb: secret'",
    ):
        run_sql(two.cn, statement)
    clean = migratectl("verify", "--dsn", two.cn)
    assert (clean.returncode, clean.stdout) == (0, "")
    assert "grants to roles other than PUBLIC: the operator gives them: init --grant-to" in clean.stderr
    run_sql(two.cn, "ALTER TABLE users ALTER level SET DEFAULT 10; GRANT SELECT ON accountdb.conflict TO PUBLIC")
    run_sql(two.global_, "ALTER TABLE users ALTER level SET DEFAULT 30")
    one = migratectl("verify", "--dsn", two.cn)
    assert (one.returncode, one.stdout) == (
        1,
        "table accountdb.conflict\n  grant to PUBLIC: schema none | database SELECT\n"
        "column public.users.level\n  default: schema 20 | database 10\n",
    )
    both = migratectl("verify", "--cn", two.cn, "--global", two.global_, "--json")
    found = json.loads(both.stdout)
    assert found["sides"] == ["schema", "cn", "global"]
    assert found["findings"][1]["attributes"][0]["values"] == {"schema": "20", "cn": "10", "global": "30"}
    file = tmp_path / "ignore.yaml"
    file.write_text("- {kind: '*', name: '*', reason: all}\n", encoding="utf-8")
    assert migratectl("verify", "--dsn", two.cn, "--ignore", str(file)).returncode == 0


def test_a_comment_or_a_grant_does_not_keep_a_region_from_joining(two: Two) -> None:
    from accountdb.drift.verify import compare_regions
    from accountdb.pg.connect import connect

    run_sql(
        two.cn,
        "COMMENT ON TABLE users IS 'x'; GRANT SELECT ON users TO PUBLIC; CREATE POLICY p ON users;"
        "ALTER TABLE users ALTER email SET STORAGE EXTERNAL; ALTER TABLE users REPLICA IDENTITY FULL;"
        "CREATE STATISTICS s ON level, role FROM users; CREATE PUBLICATION one FOR ALL TABLES;"
        "COMMENT ON INDEX users_pkey IS 'x'; ALTER TABLE users ENABLE ROW LEVEL SECURITY",
    )
    with connect(two.cn) as cn, connect(two.global_) as global_:
        assert compare_regions(cn, global_) == []
        assert two.check().returncode == 1
        cn.execute("ALTER TABLE users ALTER level SET DEFAULT 10")
        assert [drift.name for drift in compare_regions(cn, global_)] == ["users.level"]


def test_it_writes_nothing(two: Two) -> None:
    only_reading = [with_params(dsn, options="-c default_transaction_read_only=on") for dsn in (two.cn, two.global_)]
    assert Two(*only_reading).check().returncode == 0
