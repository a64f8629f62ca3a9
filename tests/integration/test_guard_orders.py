"""Two regions that exchange their rows end equal, whatever each wrote and in whatever order it arrives.

A small model of a stream: each local write leaves a change, and the other side's worker applies
them in order. Then whole rows are exchanged, as a healing merge does, until nothing moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.conftest import CONTRACT, Databases
from tests.integration.test_guard_tables import Region, Row, key

DDL = (
    f"CREATE TABLE public.thing (name text NOT NULL, email text, n integer NOT NULL DEFAULT 0, {CONTRACT})",
    "CREATE UNIQUE INDEX name_uk ON public.thing (lower(name))",
    "CREATE UNIQUE INDEX email_uk ON public.thing (email) WHERE email IS NOT NULL",
    "CREATE TABLE public.part (thing uuid NOT NULL REFERENCES public.thing ON DELETE CASCADE, code text NOT NULL,"
    f" {CONTRACT}, UNIQUE (code))",
)
TABLES = ("thing", "part")
ROUNDS = 4

NAMES, KEYS = st.sampled_from(["a", "d", "D", "e"]), st.integers(1, 4)
EMAILS = st.sampled_from(["x", "y", "z", None])
OPERATIONS = st.one_of(
    st.tuples(st.just("register"), KEYS, NAMES, EMAILS),
    st.tuples(st.just("rename"), KEYS, NAMES),
    st.tuples(st.just("remail"), KEYS, EMAILS),
    st.tuples(st.just("swap"), KEYS, KEYS),
    st.tuples(st.just("touch"), KEYS),
    st.tuples(st.just("add"), st.integers(11, 13), KEYS, st.sampled_from(["p", "q"])),
    st.tuples(st.just("recode"), st.integers(11, 13), st.sampled_from(["p", "q", "r"])),
    st.tuples(st.just("delete"), KEYS),
)
WRITES = {
    "register": "INSERT INTO public.thing (uuid, name, email) VALUES (%s, %s, %s)",
    "rename": "UPDATE public.thing SET name = %s WHERE uuid = %s",
    "remail": "UPDATE public.thing SET email = %s WHERE uuid = %s",
    "touch": "UPDATE public.thing SET n = n + 1 WHERE uuid = %s",
    "add": "INSERT INTO public.part (uuid, thing, code) VALUES (%s, %s, %s)",
    "recode": "UPDATE public.part SET code = %s WHERE uuid = %s",
    "delete": "DELETE FROM public.thing WHERE uuid = %s",
}
# What the writer calls by number the statement calls by key; the number comes first in an operation.
KEY_LAST = {"rename", "remail", "recode"}


@dataclass
class Node:
    """A region, what it holds as far as its stream has told, and the changes that wait to be sent."""

    region: Region
    told: dict[str, dict[Any, Row]] = field(default_factory=dict)
    waiting: list[tuple[str, str, Row]] = field(default_factory=list)

    def write(self, operation: tuple[Any, ...]) -> None:
        """One local transaction; one that breaks a constraint is refused, as it would be for a user."""
        name, number, *rest = operation
        if name == "swap":
            self.swap(number, rest[0])
            return
        values = [key(value) if isinstance(value, int) else value for value in rest]
        params = [*values, key(number)] if name in KEY_LAST else [key(number), *values]
        try:
            self.region.local.execute(WRITES[name].encode(), params)
        except (psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation):
            return
        self.tell()

    def swap(self, a: int, b: int) -> None:
        """Two people exchange their emails in one transaction, which the stream sends statement by statement."""
        emails = {row["uuid"]: row["email"] for row in self.region.rows()}
        steps = (("remail", a, None), ("remail", b, emails.get(key(a))), ("remail", a, emails.get(key(b))))
        for step in steps if a != b else ():
            self.write(step)

    def tell(self) -> None:
        """Put what changed since the last time into the stream: tombstones, then rows, parents first."""
        buried = self.told.setdefault("tombstone", {})
        for row in self.tombstones():
            if tombstone_key(row) not in buried:
                buried[tombstone_key(row)] = row
                self.waiting.append(("tombstone", "insert", row))
        for table in TABLES:
            told, now = self.told.get(table, {}), {row["uuid"]: row for row in self.region.rows(table)}
            for uuid in told.keys() - now.keys():
                self.waiting.append((table, "delete", told[uuid]))
            for uuid, row in now.items():
                if told.get(uuid) != row:
                    self.waiting.append((table, "update" if uuid in told else "insert", row))
            self.told[table] = now

    def tombstones(self) -> list[Row]:
        cursor = self.region.admin.cursor(row_factory=psycopg.rows.dict_row)
        return cursor.execute("SELECT * FROM accountdb.tombstone ORDER BY deleted_at").fetchall()

    def receive(self, table: str, operation: str, row: Row) -> None:
        if table == "tombstone":
            receive_tombstone(self.region, row)
        elif operation == "delete":
            self.region.worker.execute(
                sql.SQL("DELETE FROM {} WHERE uuid = %s").format(sql.Identifier("public", table)), (row["uuid"],)
            )
        else:
            getattr(self.region, operation)(table, row)


def tombstone_key(row: Row) -> Any:
    return row["row_key"], row["table_name"], row["created_at"], row["node"]


def receive_tombstone(region: Region, row: Row) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, row))
    marks = sql.SQL(", ").join(sql.Placeholder() * len(row))
    region.worker.execute(
        sql.SQL("INSERT INTO accountdb.tombstone ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(columns, marks),
        list(row.values()),
    )


def exchange(nodes: tuple[Node, Node]) -> None:
    """What waited is applied on the other side; what the workers themselves change is not sent on."""
    sent = [node.waiting for node in nodes]
    for node, changes in zip(nodes, sent[::-1], strict=True):
        for change in changes:
            node.receive(*change)
    for node in nodes:
        node.tell()
        node.waiting = []


def heal(nodes: tuple[Node, Node]) -> None:
    """A merge in small: tombstones go over, then the dead go, then every row that differs."""
    held = [({t: node.region.rows(t) for t in TABLES}, node.tombstones()) for node in nodes]
    for node, (rows, tombstones) in zip(nodes, held[::-1], strict=True):
        for tombstone in tombstones:
            receive_tombstone(node.region, tombstone)
        node.region.worker.execute(
            "DELETE FROM public.thing AS r USING accountdb.tombstone AS t"
            " WHERE t.row_key = r.uuid AND t.table_name = 'thing' AND t.created_at = r.created_at;"
            "DELETE FROM public.part AS r USING accountdb.tombstone AS t"
            " WHERE t.row_key = r.uuid AND t.table_name = 'part' AND t.created_at = r.created_at"
        )
        for table in TABLES:
            for row in rows[table]:
                here = next((r for r in node.region.rows(table) if r["uuid"] == row["uuid"]), None)
                if here != row:
                    node.receive(table, "update" if here else "insert", row)


@pytest.fixture(scope="module")
def nodes(databases: Databases) -> Iterator[tuple[Node, Node]]:
    """Two regions for all examples."""
    pair = tuple(Node(Region(databases.migrated(), name)) for name in ("cn", "global"))
    for node in pair:
        node.region.make(*DDL)
    yield pair  # type: ignore[misc]
    for node in pair:
        node.region.close()


def emptied(nodes: tuple[Node, Node]) -> tuple[Node, Node]:
    for node in nodes:
        node.region.admin.execute("SET session_replication_role = replica")
        node.region.admin.execute("DELETE FROM public.part; DELETE FROM public.thing; DELETE FROM accountdb.conflict")
        node.region.admin.execute("DELETE FROM accountdb.tombstone")
        node.region.admin.execute("SET session_replication_role = origin")
        node.told, node.waiting = {}, []
    return nodes


def run(nodes: tuple[Node, Node], shared: list[Any], here: list[Any], there: list[Any]) -> None:
    """The shared part is known to both; the rest is written apart. Then they meet, and heal until nothing moves."""
    one, other = emptied(nodes)
    for operation in shared:
        one.write(operation)
    exchange((one, other))
    for node, operations in ((one, here), (other, there)):
        for operation in operations:
            node.write(operation)
    exchange((one, other))
    for _ in range(ROUNDS):
        if content(one) == content(other):
            break
        heal((one, other))
    assert content(one) == content(other)
    assert_kept((one, other))


def content(node: Node) -> list[list[Row]]:
    return [node.region.rows(table) for table in TABLES]


def assert_kept(nodes: tuple[Node, Node]) -> None:
    """The constraints are true, no case was unknown, and every row is here, or dead, or on record."""
    for node in nodes:
        things, parts = content(node)
        assert len({row["name"].lower() for row in things}) == len(things)
        emails = [row["email"] for row in things if row["email"] is not None]
        assert len(set(emails)) == len(emails)
        assert len({row["code"] for row in parts}) == len(parts)
        assert {row["thing"] for row in parts} <= {row["uuid"] for row in things}
        assert [one for one in node.region.conflicts() if one["kind"] == "unknown"] == []


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shared=st.lists(OPERATIONS, max_size=4),
    here=st.lists(OPERATIONS, min_size=1, max_size=6),
    there=st.lists(OPERATIONS, min_size=1, max_size=6),
)
def test_two_regions_end_equal(nodes: tuple[Node, Node], shared: list[Any], here: list[Any], there: list[Any]) -> None:
    run(nodes, shared, here, there)


PEOPLE = [("register", 1, "a", "x"), ("register", 2, "b", "y"), ("add", 11, 1, "p"), ("add", 12, 2, "r")]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(here=st.lists(OPERATIONS, min_size=2, max_size=6), there=st.lists(OPERATIONS, min_size=2, max_size=6))
def test_two_regions_that_share_their_people_end_equal(
    nodes: tuple[Node, Node], here: list[Any], there: list[Any]
) -> None:
    run(nodes, PEOPLE, here, there)
