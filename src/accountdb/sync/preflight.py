"""Whether a job can run: both sides read, and everything that is wrong told at once, before a row is written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg import Cursor
from psycopg.rows import TupleRow

from accountdb.catalog.tables import Column, Table
from accountdb.errors import Refused, UsageError
from accountdb.sql import block
from accountdb.sync.capture import Capture, captured
from accountdb.sync.config import Job, Policy, TableOptions
from accountdb.sync.model import DESTINATION, SOURCE, Name, SyncTable
from accountdb.sync.side import Side

FILE = "sync/preflight.sql"

# accountdb's own triggers keep what is synced as it is.
_OWN = ("accountdb_guard", "accountdb_apply", "accountdb_bury", "accountdb_revive", "accountdb_truncate")
# Types that a target may have instead, and that hold every value of the source's.
_WIDER = {
    "smallint": {"integer", "bigint", "numeric"},
    "integer": {"bigint", "numeric"},
    "bigint": {"numeric"},
    "real": {"double precision"},
    "character varying": {"text"},
    "character": {"text"},
}
_MOST = 20


@dataclass
class Problems:
    """What is wrong: ``usage`` is mended in the job file, ``refused`` in a database."""

    usage: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    hint: str = "mend the database, or leave the table or column out of the job"

    def check(self, job: str) -> None:
        """Raises UsageError or Refused with all of it."""
        found = self.usage + self.refused
        if not found:
            return
        more = [f"  - and {len(found) - _MOST} more"] if len(found) > _MOST else []
        text = f"job {job}: {found[0]}"
        if len(found) > 1:
            text = "\n".join([f"job {job}, {len(found)} problems:", *(f"  - {line}" for line in found[:_MOST]), *more])
        if self.usage:
            raise UsageError(text, hint="mend the job file; names are as the catalog writes them")
        raise Refused(text, hint=self.hint)


def preflight(name: str, job: Job, source: Side, target: Side) -> tuple[SyncTable, ...]:
    """The job's tables as both sides have them. Raises UsageError and Refused, each with everything that is wrong."""
    problems = Problems()
    found = sync_tables(job.schema_name, job.tables, source, target, problems, deletes=job.policy is Policy.MERGE)
    row = target.row(FILE, "state_rights")
    if not row[0]:
        problems.refused.append("destination: this role may not make temporary tables: GRANT TEMP ON DATABASE")
    if not row[1]:
        problems.refused.append(
            "destination: this role has no place for its watermark: GRANT CREATE ON DATABASE, or on SCHEMA accountdb"
        )
    problems.check(name)
    return found


def sync_tables(
    schema: str,
    wanted: Mapping[str, TableOptions],
    source: Side,
    target: Side,
    problems: Problems,
    *,
    deletes: bool = False,
) -> tuple[SyncTable, ...]:
    """Some tables of one schema as both sides have them. ``deletes``: rows are deleted whatever the options say."""
    here = {table.name: table for table in source.tables(schema)}
    there = {table.name: table for table in target.tables(schema)}
    logged = _logged(source, here.values())
    found = []
    for table, options in wanted.items():
        missing = [
            f"{side} has no table {schema}.{table}"
            for side, tables in (("source", here), ("destination", there))
            if table not in tables
        ]
        problems.usage += missing
        if not missing:
            found.append(_table(here[table], there[table], options, logged, problems))
    if problems.usage or problems.refused:
        return ()
    answers = _ask(found, deletes, source, target)
    return tuple(_with_rights(one, told, problems) for one, told in zip(found, answers, strict=True))


def _logged(source: Side, tables: Iterable[Table]) -> set[Name]:
    """Those of ``tables`` that this role can sync by their log."""
    with source.use() as conn:
        found = captured(conn, tables)
    return found if found and source.row(FILE, "log_rights")[0] else set()


def _table(
    source: Table, target: Table, options: TableOptions, logged: Collection[Name], problems: Problems
) -> SyncTable:
    title = f"{source.schema}.{source.name}"
    columns = _columns(source, target, options, title, problems)
    if not source.primary_key:
        problems.refused.append(f"{title}: the source has no primary key, so its rows cannot be told apart")
    elif source.primary_key != target.primary_key:
        theirs = ", ".join(target.primary_key) or "nothing"
        problems.refused.append(
            f"{title}: the primary key is {', '.join(source.primary_key)} at the source, {theirs} at the destination"
        )
    elif options.columns and (lacking := [name for name in source.primary_key if name not in options.columns]):
        problems.usage.append(f"{title}: columns must have the primary key: {', '.join(lacking)} is missing")
    plain = all(_alike(source, target, name) and "." not in _column(source, name).base_type for name in columns)
    capture = Capture.LOG if (source.schema, source.name) in logged else Capture.XMIN
    return SyncTable(source, target, tuple(columns), options.delete, capture, "binary" if plain else "text")


def _columns(source: Table, target: Table, options: TableOptions, title: str, problems: Problems) -> list[str]:
    """The columns that are written, by name."""
    known = {column.name for column in source.columns}
    if unknown := [name for name in options.columns if name not in known]:
        problems.usage.append(f"{title}: the source has no column {', '.join(unknown)}")
    wanted = [c for c in source.columns if (not options.columns or c.name in options.columns) and not c.generated]
    found = []
    for column in sorted(wanted, key=lambda column: column.name):
        other = target.column(column.name)
        if other is None:
            problems.refused.append(f"{title}: the destination has no column {column.name}")
        elif other.generated:
            # The destination makes it itself.
            continue
        elif not _fits(column, other):
            problems.refused.append(
                f"{title}: column {column.name} is {column.type} at the source, {other.type} at the destination"
            )
        else:
            found.append(column.name)
    for column in target.columns:
        given = column.name in found or column.default is not None or column.generated or column.identity
        if column.not_null and not given and not any(column.name == c.name for c in wanted):
            problems.refused.append(
                f"{title}: column {column.name} of the destination must not be empty, and the job does not fill it"
            )
    return found


def _fits(source: Column, target: Column) -> bool:
    one, other = (column.base_type.partition("(")[0] for column in (source, target))
    return one == other or other in _WIDER.get(one, ())


def _alike(source: Table, target: Table, name: str) -> bool:
    return _column(source, name).base_type.partition("(")[0] == _column(target, name).base_type.partition("(")[0]


def _column(table: Table, name: str) -> Column:
    column = table.column(name)
    assert column is not None
    return column


@dataclass(frozen=True)
class _Answers:
    """What the two sides say of one table."""

    readable: Cursor[TupleRow]
    partitioned: Cursor[TupleRow]
    writable: Cursor[TupleRow]
    rewriting: Cursor[TupleRow]


def _ask(tables: Sequence[SyncTable], deletes: bool, source: Side, target: Side) -> list[_Answers]:
    names = [{"schema": one.source.schema, "table": one.source.name} for one in tables]
    rights = [["SELECT", "INSERT", "UPDATE", *(["DELETE"] if one.delete or deletes else [])] for one in tables]
    with source.ask() as conn:
        readable = [
            conn.execute(block(FILE, "readable"), {**of, "columns": list(one.columns)})
            for of, one in zip(names, tables, strict=True)
        ]
        partitioned = [conn.execute(block(FILE, "partitioned"), of) for of in names]
    with target.ask() as conn:
        writable = [
            conn.execute(block(FILE, "writable"), {**of, "rights": wanted})
            for of, wanted in zip(names, rights, strict=True)
        ]
        rewriting = [conn.execute(block(FILE, "rewriting"), {**of, "own": list(_OWN)}) for of in names]
    return [_Answers(*answers) for answers in zip(readable, partitioned, writable, rewriting, strict=True)]


def _with_rights(one: SyncTable, answers: _Answers, problems: Problems) -> SyncTable:
    hidden = [name for (name,) in answers.readable]
    if hidden:
        problems.refused.append(f"{one.title}: this role may not read {', '.join(hidden)} at the source")
    row = answers.writable.fetchone()
    assert row is not None
    lacking, owned, filtered, partitioned = row
    cut = answers.partitioned.fetchone()
    sides = frozenset(side for side, found in ((SOURCE, cut and cut[0]), (DESTINATION, partitioned)) if found)
    if lacking:
        problems.refused.append(f"{one.title}: this role lacks {', '.join(lacking)} at the destination")
    if filtered:
        problems.refused.append(f"{one.title}: row security hides rows of the destination from this role")
    rewriting = tuple(name for (name,) in answers.rewriting)
    if rewriting and not owned:
        problems.refused.append(
            f"{one.title}: the trigger {', '.join(rewriting)} of the destination may change what is synced, and only"
            " the table's owner can keep it from that"
        )
    return replace(
        one, owned=bool(owned), rewriting=rewriting, partitioned=sides, layout=str(cut[1] or "") if cut else ""
    )
