"""Taking a merge back from its undo file: the last transaction first, only rows that are as the merge left them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from accountdb.catalog.references import refers
from accountdb.catalog.tables import Reference, Table
from accountdb.errors import MissingRightError
from accountdb.merge.recording import images
from accountdb.merge.references import conditions
from accountdb.merge.rivals import claimed, vacate
from accountdb.merge.undo import SQL_FILE, Line, Row, lines_backwards
from accountdb.merge.writer import FILE, Writer, filled_of, judged, make_stage, stage_name, writable
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.sql import block

Name = tuple[str, str]
Values = Sequence[str | None]

# GRANT SET ON PARAMETER.
_PARAMETERS_SINCE = 150000


@dataclass
class TakenBack:
    """Rows by region. ``left`` were changed since the merge, or another row has their value: they stay as they are."""

    removed: int = 0
    restored: int = 0
    left: int = 0


def check_rights(writers: Iterable[Writer]) -> None:
    """Raises MissingRightError where what is taken back would be streamed to the other region, and deleted there."""
    for writer in writers:
        if not writer.worker or writer.origin is None:
            raise MissingRightError(
                f"{writer.name}: role {writer.conn.info.user} may not set session_replication_role"
                " and a replication origin, without which the other region would follow",
                hint=_how_to_allow(writer.conn),
            )


def _how_to_allow(conn: Connection) -> str:
    if conn.info.server_version < _PARAMETERS_SINCE:
        return "use an administrator"
    rights = sql.SQL(block(SQL_FILE, "rights")).format(role=sql.Identifier(conn.info.user)).as_string(conn)
    return f"use an administrator, or have one run in both regions: {' '.join(rights.split())}"


def take_back(path: Path, writers: Mapping[str, Writer], tables: Mapping[Name, Table]) -> dict[str, TakenBack]:
    """Undo every transaction of a file. Run again, it finds nothing left to do."""
    done = {name: TakenBack() for name in writers}
    doubtful: defaultdict[tuple[str, Name], dict[str, Values | None]] = defaultdict(dict)
    for line in lines_backwards(path):

        def undo(conn: Connection, line: Line = line) -> tuple[TakenBack, dict[Name, dict[str, Values | None]]]:
            with judged(conn):
                return _line(conn, line, tables)

        one, found = writers[line.region].run(undo)
        result = done[line.region]
        result.removed += one.removed
        result.restored += one.restored
        result.left += one.left
        for name, rows in line.rows.items():
            known = doubtful[line.region, name]
            known |= found.get(name, {})
            # Not as this line found it, or as a later one did: what counts is how the first one did.
            known |= {uuid: before for uuid, before, _ in rows if uuid in known}
    for (region, name), before in doubtful.items():
        if before:
            unlike = writers[region].run(lambda conn, n=name, b=before: _unlike(conn, tables[n], b))  # type: ignore[misc]
            done[region].left += len(unlike)
    return done


def _line(
    conn: Connection, line: Line, tables: Mapping[Name, Table]
) -> tuple[TakenBack, dict[Name, dict[str, Values | None]]]:
    """Undo one transaction. Returns the rows, too, that are not as they were before it."""
    result = TakenBack()
    unlike: dict[Name, dict[str, Values | None]] = {}
    for name, rows in line.rows.items():
        table = tables.get(name)
        if table is None or writable(table) != list(line.columns[name]):
            result.left += len(rows)
            continue
        unlike[name] = _table(conn, table, rows, result)
    if line.buried:
        schemas, names, keys, lives, nodes = (list(column) for column in zip(*line.buried, strict=True))
        values = {"schemas": schemas, "tables": names, "keys": keys, "lives": lives, "nodes": nodes}
        conn.execute(block(SQL_FILE, "unbury"), values)
    return result, unlike


def _table(conn: Connection, table: Table, rows: Sequence[Row], result: TakenBack) -> dict[str, Values | None]:
    new = [row for row in rows if row[1] is None]
    removed = _remove(conn, table, new) if new else 0
    old = [row for row in rows if row[1] is not None]
    restored = 0
    if old:
        restored = _restore(conn, table, old)
    result.removed += removed
    result.restored += restored
    return _unlike(conn, table, {row[0]: row[1] for row in rows}) if removed + restored < len(rows) else {}


def _remove(conn: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Delete what the merge brought, but for rows that somebody has changed, or given children, since."""
    conn.execute(_filled("hold", table), {"keys": [row[0] for row in rows]})
    going = {uuid for (uuid,) in conn.execute(_filled("as_left", table), _stamps(rows))}
    while staying := {uuid for reference in table.referenced_by for uuid in _parents(conn, table, reference, going)}:
        going -= staying
    return conn.execute(_filled("take_back_new", table), {"keys": list(going)}).rowcount


def _parents(conn: Connection, table: Table, reference: Reference, going: Collection[str]) -> list[str]:
    """Those of the rows ``going`` that have a child by a foreign key which does not go with them."""
    others = "children_but" if reference.child == reference.parent else "children_any"
    statement = sql.SQL(block(SQL_FILE, "parents")).format(
        table=doubled(table.identifier),
        child=doubled(sql.Identifier(*reference.child)),
        match=refers(reference, "c", "t"),
        others=sql.SQL(block(SQL_FILE, others)),
    )
    return [uuid for (uuid,) in conn.execute(statement, {"keys": list(going)})]


def _unlike(conn: Connection, table: Table, before: Mapping[str, Values | None]) -> dict[str, Values | None]:
    """Those rows that are not as they were ``before`` (None: not there)."""
    now = {uuid: values for uuid, (values, _) in images(conn, table, before).items()}
    return {uuid: values for uuid, values in before.items() if now.get(uuid) != values}


class _StrandedError(Exception):
    """Rows that gave their values up did not get their old ones back: a parent of theirs is gone."""

    def __init__(self, rows: set[str]) -> None:
        super().__init__(f"{len(rows)} rows")
        self.rows = rows


def _restore(conn: Connection, table: Table, rows: Sequence[Row]) -> int:
    if not rows:
        return 0
    try:
        with conn.transaction():
            return _restore_all(conn, table, rows)
    except _StrandedError as error:
        return _restore(conn, table, [row for row in rows if row[0] not in error.rows])
    except psycopg.IntegrityError:
        if len(rows) == 1:
            return 0
    # One of them is in the way: one by one, the others come back.
    return sum(_restore(conn, table, [row]) for row in rows)


def _restore_all(conn: Connection, table: Table, rows: Sequence[Row]) -> int:
    _stage(conn, table, rows)
    changed = [row for row in rows if row[2] is not None]
    left = {uuid for (uuid,) in conn.execute(_filled("as_left", table), _stamps(changed))} if changed else set()
    # A row may have kept its stamp when the merge changed it, and is as it was already.
    left &= _unlike(conn, table, {row[0]: row[1] for row in changed}).keys()
    coming = left | {row[0] for row in rows if row[2] is None}
    coming -= _blocked(conn, table, left, coming)
    going = [row for row in changed if row[0] in coming]
    if going:
        # They may hold each other's values.
        vacate(conn, table, _stamps(going))
    waiting = set(coming)
    parents = [filled_of(SQL_FILE, "with_parent", table, _parent(r)) for r in table.references]
    parts = {"parents": sql.SQL("\n  ").join(parents)}
    while waiting:
        # Again, for rows that refer to some that have come back just now.
        back: set[str] = set()
        for step, some in (("take_back_changed", waiting & left), ("bring_back", waiting - left)):
            statement = filled_of(SQL_FILE, step, table, parts)
            back |= {uuid for (uuid,) in conn.execute(statement, {"keys": list(some)})}
        if not back:
            break
        waiting -= back
    if stranded := waiting & left:
        raise _StrandedError(stranded)
    return len(coming) - len(waiting)


def _stage(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    make_stage(conn, table)
    conn.execute(_filled("clear_stage", table), {"unused": None})
    receive = sql.SQL(block(FILE, "receive")).format(
        into=stage_name(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, writable(table))),
        format=sql.SQL("text"),
    )
    with conn.cursor() as cursor, cursor.copy(receive) as copy:
        for _, before, _ in rows:
            copy.write_row(before or ())


def _blocked(conn: Connection, table: Table, left: set[str], coming: set[str]) -> set[str]:
    """Rows whose old value another row has by now, which keeps it."""
    claims = {(str(claim.by), str(claim.holder)) for claim in claimed(conn, table)}
    blocked = {by for by, holder in claims if holder not in left}
    while more := {by for by, holder in claims if holder in blocked} - blocked:
        blocked |= more
    return blocked & coming


def _parent(reference: Reference) -> dict[str, sql.Composable]:
    itself: sql.Composable = sql.SQL("false")
    if reference.parent == reference.child and reference.parent_columns == ("uuid",):
        itself = sql.SQL("s.{} = s.uuid").format(doubled(sql.Identifier(reference.child_columns[0])))
    return {"itself": itself, **conditions(reference, "s")}


def _stamps(rows: Sequence[Row]) -> dict[str, list[str]]:
    stamps = [row[2] or () for row in rows]
    versions, updated, origins = (list(column) for column in zip(*stamps, strict=True))
    return {"keys": [row[0] for row in rows], "versions": versions, "updated": updated, "origins": origins}


def _filled(name: str, table: Table) -> sql.Composed:
    return filled_of(SQL_FILE, name, table, {})
