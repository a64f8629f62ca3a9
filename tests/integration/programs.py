"""Random programs for two regions that are written apart, and the laws that hold once they are one again.

Equal, unique, referential; what died stays dead; what lives is there, with the content of the copy that
wins; and whoever lost a value or its place is on record. Many small worlds that share no value are played
at once, and settled at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from accountdb.contract.row_order import RowStamp
from tests.integration.merging import CONTRACT, Apart, Row, Side, refused

DDL = (
    "CREATE TABLE public.thing (name text NOT NULL, email text, n integer NOT NULL DEFAULT 0,"
    f" boss uuid REFERENCES public.thing ON DELETE SET NULL, {CONTRACT})",
    "CREATE UNIQUE INDEX name_uk ON public.thing (lower(name))",
    "CREATE UNIQUE INDEX email_uk ON public.thing (email) WHERE email IS NOT NULL",
    "CREATE TABLE public.part (thing uuid NOT NULL REFERENCES public.thing ON DELETE CASCADE, code text NOT NULL,"
    f" n integer NOT NULL DEFAULT 0, {CONTRACT}, UNIQUE (code))",
    "CREATE TABLE public.badge (serial integer NOT NULL UNIQUE, thing uuid REFERENCES public.thing ON DELETE CASCADE,"
    f" n integer NOT NULL DEFAULT 0, {CONTRACT})",
    "CREATE TABLE public.leaf (badge uuid NOT NULL REFERENCES public.badge ON DELETE CASCADE,"
    f" n integer NOT NULL DEFAULT 0, {CONTRACT})",
)
TABLES = ("thing", "part", "badge", "leaf")
PARENTS = {"part": ("thing", "thing"), "badge": ("thing", "thing"), "leaf": ("badge", "badge")}
WORLDS, PHASES, KEYS, VALUES = 40, 3, 4, 3
_FIRST = {"thing": 0, "part": 16, "badge": 32, "leaf": 48}

Operation = tuple[str, str, tuple[Any, ...]]
Life = tuple[str, UUID, Any]


def key(world: int, table: str, number: int) -> UUID:
    """A uuid whose first eight characters tell it."""
    whole = world * 64 + _FIRST[table] + number
    return UUID(f"{whole:08x}-0000-4000-8000-{whole:012x}")


@dataclass(frozen=True)
class World:
    """A program: for each phase the writes, each with the region that makes it."""

    number: int
    phases: tuple[tuple[Operation, ...], ...]

    def __str__(self) -> str:
        lines = [f"world {self.number}"]
        for position, phase in enumerate(self.phases):
            lines.append(f"  phase {position}")
            lines += [f"    {side:6} {name} {values}" for side, name, values in phase]
        return "\n".join(lines)


_WEIGHTS = {
    "register": 12, "rename": 8, "remail": 10, "swap": 6, "touch": 8, "boss": 8, "delete": 7, "again": 3,
    "part": 12, "recode": 8, "move": 10, "trade": 5, "badge": 8, "renumber": 5, "rebadge": 6, "leaf": 8, "releaf": 6,
    "drop": 6, "merge": 3, "stamp": 4,
}  # fmt: skip


def world_of(seed: int, number: int) -> World:
    """The program of one seed."""
    rng = random.Random(f"{seed}/{number}")
    first = [_operation(rng, "cn", name) for name in ("register", "register", "part", "badge", "leaf")]
    phases = [first + [_operation(rng, rng.choice(("cn", "global"))) for _ in range(rng.randint(0, 4))]]
    for _ in range(1, PHASES):
        # Often one region is only behind.
        sides = rng.choice((("cn",), ("global",), ("cn", "global"), ("cn", "global")))
        phases.append([_operation(rng, rng.choice(sides)) for _ in range(rng.randint(1, 8))])
    return World(number, tuple(map(tuple, phases)))


def _operation(rng: random.Random, side: str, name: str = "") -> Operation:
    name = name or rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    numbers = tuple(rng.randrange(KEYS) for _ in range(2))
    return side, name, (*numbers, rng.randrange(VALUES), rng.choice(TABLES))


class Player:
    """Writes one world in one region, as its users do."""

    def __init__(self, side: Side, world: int) -> None:
        self.side = side
        self.world = world

    def play(self, name: str, a: int, b: int, value: int, table: str) -> None:
        """One local transaction. What breaks a constraint is refused, as it would be for a user."""
        x, y = self.key("thing", a), self.key("thing", b)
        text = f"w{self.world}-{value}"
        match name:
            case "register":
                self.run("INSERT INTO thing (uuid, name, email) VALUES (%s, %s, %s)", x, f"{text}-{b % 2}", text)
            case "rename":
                self.run("UPDATE thing SET name = %s WHERE uuid = %s", f"{text}-{b % 2}".upper(), x)
            case "remail":
                self.run("UPDATE thing SET email = %s WHERE uuid = %s", text if value else None, x)
            case "swap":
                self.exchange("thing", "email", x, y, "NULL")
            case "touch":
                self.run(f"UPDATE {table} SET n = n + 1 WHERE uuid = %s", self.key(table, a))
            case "boss":
                self.run("UPDATE thing SET boss = %s WHERE uuid = %s", y if value else None, x)
            case "delete":
                self.run("DELETE FROM thing WHERE uuid = %s", x)
            case "again":
                self.run("DELETE FROM thing WHERE uuid = %s", x)
                self.run("INSERT INTO thing (uuid, name, email) VALUES (%s, %s, %s)", x, f"{text}-again", text)
            case "merge":
                self.run("UPDATE part SET thing = %s WHERE thing = %s", y, x)
                self.run(
                    "SELECT set_config('accountdb.merged_into', %s, true); DELETE FROM thing WHERE uuid <> %s"
                    " AND uuid = %s AND EXISTS (SELECT FROM thing WHERE uuid = %s)".replace("%s", "{}").format(
                        *(f"'{one}'" for one in (y, y, x, y))
                    )
                )
            case "stamp":
                self.stamp(x)
            case _:
                self.play_child(name, a, b, value, table)

    def play_child(self, name: str, a: int, b: int, value: int, table: str) -> None:
        """The same for writes of children."""
        thing, code = self.key("thing", b), f"w{self.world}-{value}"
        serial = self.world * VALUES + value
        statements: dict[str, tuple[str, tuple[Any, ...]]] = {
            "part": (
                "INSERT INTO part (uuid, thing, code) VALUES (%s, %s, %s)",
                (self.key("part", a), thing, code),
            ),
            "recode": ("UPDATE part SET code = %s WHERE uuid = %s", (code, self.key("part", a))),
            "move": ("UPDATE part SET thing = %s WHERE uuid = %s", (thing, self.key("part", a))),
            "badge": (
                "INSERT INTO badge (uuid, serial, thing) VALUES (%s, %s, %s)",
                (self.key("badge", a), serial, thing if value else None),
            ),
            "renumber": ("UPDATE badge SET serial = %s WHERE uuid = %s", (serial, self.key("badge", a))),
            "rebadge": ("UPDATE badge SET thing = %s WHERE uuid = %s", (thing, self.key("badge", a))),
            "leaf": (
                "INSERT INTO leaf (uuid, badge) VALUES (%s, %s)",
                (self.key("leaf", a), self.key("badge", b)),
            ),
            "releaf": (
                "UPDATE leaf SET badge = %s WHERE uuid = %s",
                (self.key("badge", b), self.key("leaf", a)),
            ),
            "drop": (f"DELETE FROM {table} WHERE uuid = %s", (self.key(table, a),)),
        }
        if name == "trade":
            self.exchange("part", "code", self.key("part", a), self.key("part", b), f"'w{self.world}-trade'")
        else:
            statement, values = statements[name]
            self.run(statement, *values)

    def exchange(self, table: str, column: str, x: UUID, y: UUID, between: str) -> None:
        """Two rows exchange a unique value in one transaction."""
        held = dict(self.side.found(f"SELECT uuid, {column} FROM {table} WHERE uuid IN (%s, %s)", x, y))
        if len(held) < 2:
            return
        steps = ((between, x), (_quoted(held[x]), y), (_quoted(held[y]), x))
        self.run("; ".join(f"UPDATE {table} SET {column} = {text} WHERE uuid = '{uuid}'" for text, uuid in steps))

    def stamp(self, uuid: UUID) -> None:
        """A write that carries its own stamp, the same in both regions, but not the same content."""
        self.run(
            f"SET LOCAL accountdb.apply = 'on'; UPDATE thing SET n = {len(self.side.name)}, version = 8,"
            f" origin_node = 'node_x', updated_at = '2031-05-05 05:05:05Z' WHERE uuid = '{uuid}' AND version < 8"
        )

    def key(self, table: str, number: int) -> UUID:
        return key(self.world, table, number)

    def run(self, statement: str, *params: Any) -> None:
        refused(self.side, statement, *params)


def _quoted(value: str | None) -> str:
    return sql.Literal(value).as_string()


@dataclass(frozen=True)
class Known:
    """What both regions held before a merge: their copies of each row, and the lives that had ended."""

    copies: dict[str, dict[UUID, dict[str, Row]]]
    dead: set[Life]
    heirs: set[UUID]

    @classmethod
    def look(cls, apart: Apart) -> Known:
        copies: dict[str, dict[UUID, dict[str, Row]]] = {table: {} for table in TABLES}
        for side in apart.sides:
            for table in TABLES:
                for row in side.rows(table):
                    copies[table].setdefault(row["uuid"], {})[side.name] = row
        heirs = {
            uuid
            for side in apart.sides
            for (uuid,) in side.found("SELECT row_key FROM accountdb.tombstone WHERE winner IS NOT NULL")
        }
        return cls(copies, apart.cn.dead() | apart.global_.dead(), heirs)

    def winner(self, table: str, uuid: UUID) -> tuple[str, Row] | None:
        """The copy that stands by the row order, with its region; None where every copy is dead."""
        copies = self.copies[table].get(uuid, {})
        alive = [(side, row) for side, row in copies.items() if (table, uuid, row["created_at"]) not in self.dead]
        return max(alive, key=lambda one: rank(one[1]), default=None)

    def tied(self, table: str, uuid: UUID) -> bool:
        """Whether only the content tells two living copies apart."""
        ranks = [rank(row)[:3] for row in self.copies[table].get(uuid, {}).values()]
        return len(ranks) == 2 and ranks[0] == ranks[1]

    def lives(self, table: str, uuid: UUID, side: str) -> bool:
        """Whether a region's own copy is there and has not ended."""
        row = self.copies[table].get(uuid, {}).get(side)
        return row is not None and (table, uuid, row["created_at"]) not in self.dead


def rank(row: Row) -> tuple[Any, ...]:
    return RowStamp(row["version"], row["updated_at"], row["origin_node"], "").rank


def faults(apart: Apart, before: Known) -> Iterator[tuple[UUID, str]]:
    """What is against the laws, by row."""
    after = {table: {row["uuid"]: row for row in apart.cn.rows(table)} for table in TABLES}
    there = {table: {row["uuid"]: row for row in apart.global_.rows(table)} for table in TABLES}
    events = [one for side in apart.sides for one in side.conflicts()]
    recorded = {one["row_key"] for one in events}
    claimed = {one["row_key"] for one in events if one["kind"] == "unique_claim"}
    for table in TABLES:
        for uuid in after[table].keys() | there[table].keys():
            here, other = after[table].get(uuid), there[table].get(uuid)
            if here != other:
                yield uuid, f"{table}: not equal:\n      cn {here}\n      global {other}"
            for row in (here, other):
                if row and (table, uuid, row["created_at"]) in before.dead:
                    yield uuid, f"{table}: a dead row stands: {row}"
        for uuid in before.copies[table]:
            standing = before.winner(table, uuid)
            now = after[table].get(uuid)
            if standing is None:
                continue
            side, row = standing
            parent = PARENTS.get(table)
            if now is None:
                orphan = parent and row[parent[1]] and not before.lives(parent[0], row[parent[1]], side)
                gone = parent and row[parent[1]] and row[parent[1]] not in after[parent[0]]
                parked = table in ("part", "badge") and uuid in claimed
                if not (orphan or gone or parked):
                    yield uuid, f"{table}: lost: {row}"
                if uuid not in recorded:
                    yield uuid, f"{table}: not on record: {row}"
            elif not before.tied(table, uuid):
                yield from _unlike(table, row, now, after, before, side, claimed)


def _unlike(
    table: str, row: Row, now: Row, after: dict[str, dict[UUID, Row]], before: Known, side: str, claimed: set[UUID]
) -> Iterator[tuple[UUID, str]]:
    """Where a row that stands is not the copy that won, without cause."""
    uuid = row["uuid"]
    for column, value in row.items():
        if now[column] == value or column == "version":
            continue
        released = column in ("name", "email", "serial") and uuid in claimed and now["version"] > row["version"]
        parent = {"boss": "thing", "thing": "thing", "badge": "badge"}.get(column)
        emptied = column == "boss" and now[column] is None and value not in after["thing"]
        reborn = parent and not before.lives(parent, value, side)
        inherited = column in ("thing",) and value in before.heirs
        if not (released or emptied or reborn or inherited):
            yield uuid, f"{table}: {column} is {now[column]!r}, not {value!r}\n      won {row}\n      now {now}"
    if now["version"] != row["version"] and uuid not in claimed:
        yield uuid, f"{table}: version {now['version']}, not {row['version']}"
    if uuid in claimed and now["version"] > row["version"]:
        yield from _robbed(table, row, now, before)


def _robbed(table: str, row: Row, now: Row, before: Known) -> Iterator[tuple[UUID, str]]:
    """A value that was released belongs to an older row: one that claimed it in the end, not on its way there."""
    for column in ("name", "email") if table == "thing" else ():
        value = row[column]
        if value is None or now[column] == value:
            continue
        rivals = [
            one
            for uuid in before.copies[table]
            if uuid != row["uuid"] and (found := before.winner(table, uuid)) is not None
            for one in [found[1]]
            if one[column] is not None and one[column].lower() == value.lower()
        ]
        if not any((one["created_at"], one["uuid"]) < (row["created_at"], row["uuid"]) for one in rivals):
            yield row["uuid"], f"{table}: {column} {value!r} was taken from it by nobody older\n      {row}"


def assert_lawful(apart: Apart, worlds: list[World], before: Known, phase: int) -> None:
    """What was settled holds the laws, or the worlds that do not are told, with their programs."""
    found = list(faults(apart, before))
    if found:
        bad = {int(str(uuid)[:8], 16) // 64 for uuid, _ in found}
        told = [str(world) for world in worlds if world.number in bad]
        said = [f"  after phase {phase}: {uuid}: {text}" for uuid, text in found]
        raise AssertionError("\n".join([f"{len(bad)} worlds of {len(worlds)}", *told[:3], *said[:20]]))


def write(apart: Apart, worlds: list[World], phase: int) -> None:
    """One phase of all worlds."""
    for world in worlds:
        players = {side.name: Player(side, world.number) for side in apart.sides}
        for side, name, values in world.phases[phase]:
            players[side].play(name, *values)
