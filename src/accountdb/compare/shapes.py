"""Which tables two regions have to compare, and whether they can be: everything is checked before a row is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import psycopg
from psycopg import sql

from accountdb.catalog.tables import Column, Table, read_tables
from accountdb.compare.columns import HashKind, plain_type
from accountdb.compare.model import Options, Shape
from accountdb.compare.session import FILE, Region, together
from accountdb.compare.statement import condition
from accountdb.contract.row_contract import candidates, violations
from accountdb.errors import Refused, UsageError
from accountdb.pg.connect import told
from accountdb.pg.names import doubled
from accountdb.sql import block

_MOST = 10


def shapes(a: Region, b: Region, options: Options) -> tuple[Shape, ...]:
    """The tables that ``options`` ask for, in name order.

    Raises UsageError for a table that is not there, has no key, or lacks a column that was asked
    for, Refused where the regions' columns differ or cannot be read. Names everything at once.
    """
    known = together(lambda region: _known(region, options), (a, b))
    _check_asked(a, b, options, {name for tables in known for name in tables})
    here, there = (_chosen(tables, options) for tables in known)
    _check_present(a, b, here, there)
    _check_keys(here)
    pairs = [(here[name], there[name]) for name in here]
    differences = [line for pair in pairs for line in _differences(a, b, *pair, options)]
    if differences:
        raise Refused(
            _listed("the regions' columns differ", differences),
            hint="migratectl migrate brings both to one structure; --columns leaves columns out",
        )
    partitioned = dict(zip((a.name, b.name), together(_partitioned, (a, b)), strict=True))
    found = tuple(_shape(one, other, options, partitioned) for one, other in pairs)
    unreadable = [line for lines in together(lambda region: _unreadable(region, found), (a, b)) for line in lines]
    if unreadable:
        raise Refused(
            _listed("not allowed to read", unreadable), hint="GRANT SELECT to this role, or use the tables' owner"
        )
    if options.where is not None:
        for shape in found:
            _check_where(a, shape, options.where)
    return found


def common(found: Sequence[Sequence[Shape]]) -> tuple[Shape, ...]:
    """The shapes of one region with each of several others, as one for all of them. Pure."""
    return tuple(
        replace(
            same[0],
            ordered=all(shape.ordered for shape in same),
            partitioned=frozenset().union(*(shape.partitioned for shape in same)),
        )
        for same in zip(*found, strict=True)
    )


def _check_where(region: Region, shape: Shape, where: str) -> None:
    """Raises UsageError for a condition that the server does not understand."""
    statement = sql.SQL(block(FILE, "nothing")).format(table=doubled(shape.identifier), where=condition(where))
    with region.use() as conn:
        try:
            with conn.transaction():
                conn.execute(statement, {"none": None})
        except psycopg.OperationalError:
            raise  # the server's trouble, not the condition's
        except psycopg.Error as error:
            found = told(error)
            raise UsageError(
                f"--where on {shape.title}: {found.message}", hint='a condition in SQL: --where "level > 20"'
            ) from None


def negotiate(a: Region, b: Region, wanted: HashKind | None) -> HashKind:
    """The hash for two servers: the fast one where both compute it alike.

    Raises Refused where they store text in different encodings.
    """
    (_, encoding_a), (_, encoding_b) = together(lambda region: _row(region, "facts"), (a, b))
    if encoding_a != encoding_b:
        raise Refused(
            f"{a.name} stores text as {encoding_a}, {b.name} as {encoding_b}: the same text has other bytes there",
            hint="compare dumps instead, or move one region to the other's encoding",
        )
    if wanted is not None:
        return wanted
    one, other = together(lambda region: _row(region, "probe"), (a, b))
    return HashKind.RECORD if one == other else HashKind.SHA256


def _row(region: Region, name: str) -> tuple[object, ...]:
    with region.use() as conn:
        row = conn.execute(block(FILE, name)).fetchone()
    assert row is not None
    return row


def _known(region: Region, options: Options) -> dict[tuple[str, str], Table]:
    """The tables of every schema that ``options`` speak of, by schema and name."""
    named = {split_name(name)[0] for name in (*options.tables, *options.exclude)}
    with region.use() as conn:
        return {(t.schema, t.name): t for schema in sorted(named | {"public"}) for t in read_tables(conn, schema)}


def _chosen(known: Mapping[tuple[str, str], Table], options: Options) -> dict[tuple[str, str], Table]:
    """The tables of one region that are meant."""
    excluded = {split_name(name) for name in options.exclude}
    wanted = [split_name(name) for name in options.tables] or [
        (table.schema, table.name) for table in candidates(t for t in known.values() if t.schema == "public")
    ]
    return {name: known[name] for name in wanted if name in known and name not in excluded}


def split_name(name: str) -> tuple[str, str]:
    """``schema.table`` or ``table``. A table whose own name has a dot is told by its schema."""
    schema, dot, table = name.partition(".")
    return (schema, table) if dot else ("public", name)


def _check_present(
    a: Region, b: Region, here: Mapping[tuple[str, str], Table], there: Mapping[tuple[str, str], Table]
) -> None:
    missing = [f"{_title(name)} is not in {b.name}" for name in here if name not in there]
    missing += [f"{_title(name)} is not in {a.name}" for name in there if name not in here]
    if missing:
        raise UsageError(
            _listed("tables that only one region has", missing),
            hint="migratectl migrate on both, or --exclude TABLE",
        )
    if not here:
        raise UsageError("there is no table to compare", hint="--table NAME, or migratectl migrate first")


def _check_asked(a: Region, b: Region, options: Options, names: set[tuple[str, str]]) -> None:
    unknown = [name for name in (*options.tables, *options.exclude) if split_name(name) not in names]
    if unknown:
        raise UsageError(
            f"no such table in {a.name} and {b.name}: {', '.join(unknown)}",
            hint="--table users, or --table schema.table, as the catalog writes it",
        )


def _check_keys(here: Mapping[tuple[str, str], Table]) -> None:
    keyless = [_title(name) for name, table in here.items() if not table.primary_key]
    if keyless:
        raise UsageError(
            f"without a primary key rows cannot be told apart: {', '.join(keyless)}",
            hint="ALTER TABLE ... ADD PRIMARY KEY, or --exclude TABLE",
        )


def _differences(a: Region, b: Region, here: Table, there: Table, options: Options) -> list[str]:
    """What keeps two tables from being compared column by column."""
    title = _title((here.schema, here.name))
    wanted = set(options.columns)
    unknown = sorted(wanted - {c.name for c in here.columns} - {c.name for c in there.columns})
    if unknown:
        raise UsageError(f"{title} has no column {', '.join(unknown)}", hint="--columns takes names of columns")
    if here.primary_key != there.primary_key:
        keys = (", ".join(table.primary_key) or "nothing" for table in (here, there))
        return [f"{title}: the primary key is {next(keys)} in {a.name}, {next(keys)} in {b.name}"]
    named = wanted | set(here.primary_key) if wanted else {c.name for c in (*here.columns, *there.columns)}
    lines = []
    for name in sorted(named):
        one, other = here.column(name), there.column(name)
        if one is None or other is None:
            lines.append(f"{title}: column {name} is not in {b.name if other is None else a.name}")
        elif plain_type(one) != plain_type(other):
            lines.append(f"{title}: column {name} is {one.type} in {a.name}, {other.type} in {b.name}")
    return lines


def _partitioned(region: Region) -> set[tuple[str, str]]:
    with region.use() as conn:
        return {(schema, name) for schema, name in conn.execute(block(FILE, "partitioned"))}


def _shape(
    here: Table, there: Table, options: Options, partitioned: Mapping[str, Collection[tuple[str, str]]]
) -> Shape:
    chosen = {*options.columns, *here.primary_key} if options.columns else {c.name for c in here.columns}
    columns = tuple(sorted((c for c in here.columns if c.name in chosen), key=lambda c: c.name))
    ordered = not violations(here) and not violations(there)
    cut = frozenset(region for region, names in partitioned.items() if (here.schema, here.name) in names)
    return Shape(here.schema, here.name, _key(here), columns, ordered, cut)


def _key(table: Table) -> tuple[Column, ...]:
    by_name = {column.name: column for column in table.columns}
    return tuple(by_name[name] for name in table.primary_key)


def _unreadable(region: Region, shapes_: Sequence[Shape]) -> list[str]:
    lines = []
    for shape in shapes_:
        values = {"schema": shape.schema, "table": shape.name, "columns": [c.name for c in shape.columns]}
        with region.use() as conn:
            found = [name for (name,) in conn.execute(block(FILE, "readable"), values)]
        if found:
            which = "" if len(found) == len(shape.columns) else f" ({', '.join(found)})"
            lines.append(f"{region.name}: {shape.title}{which}")
    return lines


def _title(name: tuple[str, str]) -> str:
    return ".".join(name)


def _listed(what: str, lines: Sequence[str]) -> str:
    if len(lines) == 1:
        return f"{what}: {lines[0]}"
    more = [f"  - and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return "\n".join([f"{what}, {len(lines)} problems:", *(f"  - {line}" for line in lines[:_MOST]), *more])
