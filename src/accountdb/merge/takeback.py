"""Taking a merge back from its undo file: the last transaction first, only rows that are as the merge left them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.errors import MissingRightError
from accountdb.merge.recording import images
from accountdb.merge.references import child_matches, conditions
from accountdb.merge.undo import SQL_FILE, Line, Row, lines_backwards
from accountdb.merge.writer import FILE, Writer, filled_of, judged, make_stage, stage_name, writable
from accountdb.pg.connect import Connection
from accountdb.pg.names import doubled
from accountdb.sql import block

Name = tuple[str, str]
Values = Sequence[str | None]


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
                hint="use an administrator",
            )


def take_back(path: Path, writers: Mapping[str, Writer], tables: Mapping[Name, Table]) -> dict[str, TakenBack]:
    """Undo every transaction of a file. Run again, it finds nothing left to do."""
    done = {name: TakenBack() for name in writers}
    doubtful: defaultdict[tuple[str, Name], dict[str, Values | None]] = defaultdict(dict)
    for line in lines_backwards(path):

        def undo(conn: Connection, line: Line = line) -> tuple[TakenBack, dict[Name, dict[str, Values | None]]]:
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
    judged(conn, True)
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
    """Delete what the merge brought, but for rows that somebody has given children since."""
    conn.execute(_filled("hold", table), {"keys": [row[0] for row in rows]})
    childless = [
        sql.SQL(block(SQL_FILE, "childless")).format(
            child=doubled(sql.Identifier(*reference.child)), match=child_matches(reference, "c", "t")
        )
        for reference in table.referenced_by
    ]
    statement = filled_of(SQL_FILE, "take_back_new", table, {"childless": sql.SQL("\n  ").join(childless)})
    removed = last = conn.execute(statement, _stamps(rows)).rowcount
    while last and any(reference.child == reference.parent for reference in table.referenced_by):
        # Children of one another: from the last one up.
        last = conn.execute(statement, _stamps(rows)).rowcount
        removed += last
    return removed


def _unlike(conn: Connection, table: Table, before: Mapping[str, Values | None]) -> dict[str, Values | None]:
    """Those rows that are not as they were ``before`` (None: not there)."""
    now = {uuid: values for uuid, (values, _) in images(conn, table, before).items()}
    return {uuid: values for uuid, values in before.items() if now.get(uuid) != values}


def _restore(conn: Connection, table: Table, rows: Sequence[Row]) -> int:
    try:
        with conn.transaction():
            return _restore_all(conn, table, rows)
    except psycopg.IntegrityError:
        if len(rows) == 1:
            return 0
    # One of them is in the way: one by one, the others come back.
    return sum(_restore(conn, table, [row]) for row in rows)


def _restore_all(conn: Connection, table: Table, rows: Sequence[Row]) -> int:
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
    changed = [row for row in rows if row[2] is not None]
    gone = [row[0] for row in rows if row[2] is None]
    parents = [filled_of(SQL_FILE, "with_parent", table, conditions(r, "s")) for r in table.references]
    parts = {"parents": sql.SQL("\n  ").join(parents)}
    count, last = 0, 1
    while last:
        # Again, for rows that refer to some that have come back just now.
        last = 0
        if changed:
            last += conn.execute(filled_of(SQL_FILE, "take_back_changed", table, parts), _stamps(changed)).rowcount
        if gone:
            last += conn.execute(filled_of(SQL_FILE, "bring_back", table, parts), {"keys": gone}).rowcount
        count += last
    return count


def _stamps(rows: Sequence[Row]) -> dict[str, list[str]]:
    stamps = [row[2] or () for row in rows]
    versions, updated, origins = (list(column) for column in zip(*stamps, strict=True))
    return {"keys": [row[0] for row in rows], "versions": versions, "updated": updated, "origins": origins}


def _filled(name: str, table: Table) -> sql.Composed:
    return filled_of(SQL_FILE, name, table, {})
