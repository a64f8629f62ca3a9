"""``migratectl check``: the structure of regions side by side, and what replication adds to it.

Structure and replication's objects are read from the catalog by drift. What it takes more than the
catalog to judge comes in here as objects of the same comparison: ``guard`` and ``row_contract``, one
for each table that all regions have, and ``parameter``, one for each server parameter that must be equal and for
the region's mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import psycopg

from accountdb.catalog.tables import read_tables
from accountdb.compare.session import named, together
from accountdb.contract.row_contract import candidates, violations
from accountdb.drift.canonical import load_canonical
from accountdb.drift.compare import order
from accountdb.drift.findings import Comparison, Finding, finding, side_by_side
from accountdb.drift.kinds import KINDS, NotCompared
from accountdb.drift.read import read_structure
from accountdb.drift.structure import Definition, Identity, Structure
from accountdb.drift.verify import verify as against_schema
from accountdb.errors import AccountdbError, Refused
from accountdb.guards.install import GuardState, states
from accountdb.pg import session
from accountdb.pg.connect import Connection, connect
from accountdb.pg.dsn import with_params
from accountdb.replication import common
from accountdb.replication.engine import engine_for
from accountdb.replication.model import Mode
from accountdb.setup.parameters import NAMES, Parameters, judge
from accountdb.sql import block

COMPOSED_KINDS = ("guard", "row_contract", "parameter")
"""The kinds that this module adds to those of drift."""

ALL_KINDS = (*KINDS, *COMPOSED_KINDS)

_GUARDS = "guards, row contract"
_NOTHING_STREAMS = NotCompared(_GUARDS, "a region is in mode pgsync, which needs neither")
_MODE_UNREAD = NotCompared(f"mode, {_GUARDS}", "this role may not read accountdb.node")
_SETS_UNREAD = NotCompared("guards that every region lacks", "this role may not read which tables are replicated")
_STREAMING = (Mode.PGLOGICAL, Mode.NATIVE)
_Table = tuple[str, str]
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Side:
    """What was read of one region. ``guards`` and ``lacks`` are by schema and table, of a region that streams.

    ``mode`` None and ``replicated`` None: the role may not read it.
    """

    structure: Structure
    mode: Mode | None
    guards: Mapping[_Table, GuardState]
    lacks: Mapping[_Table, str]
    replicated: frozenset[_Table] | None
    parameters: Parameters


def check(regions: Mapping[str, str], ignore_file: Path | None = None) -> Comparison:
    """Compare the structure of two regions or more, given by name and DSN. Writes nothing.

    All are read at once. Raises UsageError for the ignore file, before any server is asked; Refused
    where two names lead to one database; ConnectError and AccountdbError, with the region's name.
    """
    ignored = ignoring(ignore_file)
    return ignored(composed(_read(regions)))


def verify(regions: Mapping[str, str], schema_file: Path | None, ignore_file: Path | None) -> Comparison:
    """Compare databases with a schema, see ``accountdb.drift.verify``; a region without a name is ``database``."""
    ignored = ignoring(ignore_file)
    return ignored(against_schema({name or "database": dsn for name, dsn in regions.items()}, schema_file))


def ignoring(file: Path | None) -> Callable[[Comparison], Comparison]:
    """What takes out of a comparison that which the file says; the file is read and judged at once.

    Raises UsageError for a file that cannot be read or says what is not known.
    """
    if file is None:
        return lambda found: found
    # pydantic takes a while to load.
    from accountdb.drift.ignore import read_rules, without

    rules = read_rules(file, ALL_KINDS)
    return lambda found: without(found, rules)


def _read(regions: Mapping[str, str]) -> dict[str, Side]:
    with ExitStack() as stack:

        def opened(name: str) -> Connection:
            # A database in SQL_ASCII would else answer in bytes.
            dsn = with_params(regions[name], client_encoding="UTF8")
            return stack.enter_context(connect(dsn, name=f"--{name}", autocommit=True))

        conns = dict(zip(regions, together(opened, regions), strict=True))
        refuse_same(conns, regions)

        def read(name: str) -> Side:
            with named(name, regions[name]):
                try:
                    return read_side(conns[name])
                except AccountdbError as error:
                    raise AccountdbError(f"{name}: {error.message}", hint=error.hint) from error

        return dict(zip(regions, together(read, regions), strict=True))


def refuse_same(conns: Mapping[str, Connection], regions: Mapping[str, str]) -> None:
    """Raises Refused where two names lead to one database, whatever their DSNs in ``regions`` say."""
    for one, other in combinations(conns, 2):
        with named(f"{one} or {other}", regions[one]):
            if session.same_database(conns[one], conns[other]):
                raise Refused(f"{one} and {other} are the same database", hint="each DSN names another region")


def read_side(conn: Connection) -> Side:
    """One region as its role may see it. ``conn`` is in autocommit."""
    structure = read_structure(conn)
    mode = _allowed(lambda: common.node(conn)[1])
    guards: dict[_Table, GuardState] = {}
    lacks: dict[_Table, str] = {}
    replicated: frozenset[_Table] | None = frozenset()
    if mode is not None and mode is not Mode.PGSYNC:
        known = read_tables(conn)
        tables = candidates(known)
        guards = {(one.schema, one.table): one.state for one in states(conn, tables, known)}
        lacks = {(table.schema, table.name): "; ".join(violations(table)) for table in tables}
        replicated = _allowed(lambda: engine_for(mode).offered(conn))
    with session.pipelined(conn):
        parameters = conn.execute(block("checking.sql", "parameters").encode(), {"names": list(NAMES)})
        locale = conn.execute(block("checking.sql", "locale").encode())
    return Side(structure, mode, guards, lacks, replicated, dict(parameters.fetchall()) | dict(locale.fetchall()))


def _allowed(read: Callable[[], _Found]) -> _Found | None:
    """What ``read`` gives; None where the role may not read it."""
    try:
        return read()
    except psycopg.errors.InsufficientPrivilege:
        return None


def composed(sides: Mapping[str, Side]) -> Comparison:
    """The comparison of what was read; pure."""
    modes = [side.mode for side in sides.values() if side.mode is not None]
    judged = judge({name: side.parameters for name, side in sides.items()}, modes)
    streams = all(side.mode in _STREAMING for side in sides.values())
    structures = {
        name: _with(side.structure, (_of_tables(side, sides) if streams else {}) | _of_server(judged.equal[name], side))
        for name, side in sides.items()
    }
    found = side_by_side(structures, reference=load_canonical(), told=tuple(_untold(sides, judged.unseen)))
    wrong = _wrong_everywhere(found, sides)
    findings = sorted((*found.findings, *wrong), key=lambda each: order(each.identity))
    return replace(found, findings=tuple(findings), notes=(*_versions(sides), *judged.notes))


def _untold(sides: Mapping[str, Side], unseen: Sequence[str]) -> Iterator[NotCompared]:
    """What of replication was not looked at, and why."""
    modes = [side.mode for side in sides.values()]
    if None in modes:
        yield _MODE_UNREAD
    elif Mode.PGSYNC in modes:
        yield _NOTHING_STREAMS
    elif any(side.replicated is None for side in sides.values()):
        yield _SETS_UNREAD
    for name in unseen:
        yield NotCompared(f"parameter {name}", "not every region has it and shows it")


def _with(structure: Structure, more: Mapping[Identity, Definition]) -> Structure:
    return replace(structure, objects={**structure.objects, **more})


def _of_tables(side: Side, sides: Mapping[str, Side]) -> dict[Identity, Definition]:
    """Guards and what is lacking, of tables that every region has: a missing table is told as such."""
    found: dict[Identity, Definition] = {}
    for schema, table in set.intersection(*(set(one.guards) for one in sides.values())):
        found[Identity("guard", schema, table)] = {"state": str(side.guards[schema, table])}
        lacks = side.lacks[schema, table]
        found[Identity("row_contract", schema, table)] = {"lacks": lacks} if lacks else {}
    return found


def _of_server(equal: Mapping[str, str], side: Side) -> dict[Identity, Definition]:
    found = dict(equal) | ({"mode": str(side.mode)} if side.mode else {})
    return {Identity("parameter", "", name): {"value": value} for name, value in found.items()}


def _wrong_everywhere(found: Comparison, sides: Mapping[str, Side]) -> list[Finding]:
    """Guards and row contract of replicated tables that are equal in all regions, and equally wrong."""
    replicated = {table for side in sides.values() for table in side.replicated or ()}
    told = {each.identity for each in found.findings}
    first = next(iter(found.structures.values()))
    wrong = [
        one
        for one, definition in first.objects.items()
        if one.kind in ("guard", "row_contract")
        and one not in told
        and (one.schema, one.name) in replicated
        and definition not in ({"state": GuardState.INSTALLED}, {})
    ]
    return [finding(one, found.structures) for one in wrong]


def _versions(sides: Mapping[str, Side]) -> list[str]:
    majors = {name: side.structure.major for name, side in sides.items()}
    if len(set(majors.values())) == 1:
        return []
    return [f"PostgreSQL is {', '.join(f'{major} in {name}' for name, major in majors.items())}"]
