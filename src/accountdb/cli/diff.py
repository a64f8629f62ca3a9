"""migratectl diff: two regions found equal, or every row named that is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from accountdb.cli import options
from accountdb.compare.columns import HashKind
from accountdb.compare.model import Finding, Options, TableResult
from accountdb.compare.verdict import excerpts
from accountdb.contract.masking import printable
from accountdb.errors import UsageError
from accountdb.render import output
from accountdb.render.progress import meter
from accountdb.setup.diffing import diff_regions

_PLAIN = re.compile(r"[\w.:@/*+-]+")

Tables = Annotated[
    list[str] | None,
    typer.Option("--table", metavar="TABLE", help="Only this table, as table or schema.table; again for more."),
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="TABLE", help="Leave a table out.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, max=32, help="Connections to each region.")]

Settle = Annotated[
    float | None,
    typer.Option(
        "--settle",
        metavar="SECONDS",
        min=0,
        max=86_400,
        help="How long rows that differ are looked at again, until what is under way has arrived"
        " (default: 10 with streams, 0 without).",
    ),
]


def diff(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    table: Tables = None,
    exclude: Exclude = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="Only rows that meet a condition in SQL.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="Only these columns; the key is always among them.")
    ] = None,
    settle: Settle = None,
    jobs: Jobs = 2,
    hash_: Annotated[
        HashKind | None,
        typer.Option("--hash", help="record: PostgreSQL's own, fast; sha256: the same on any two servers."),
    ] = None,
    json: options.Json = False,
) -> int:
    """Compare the data of two regions or more; exit status 1 when a row differs."""
    regions = options.regions(cn, global_, node)
    chosen = Options(
        tables=tuple(table or ()),
        exclude=tuple(exclude or ()),
        columns=_names(columns),
        where=where,
        jobs=jobs,
        settle_s=settle,
        hash_kind=hash_,
    )
    if json:
        with output.JsonStream("rows") as document:
            found = _told(regions, chosen, document.add)
            document.end({"equal": _equal(found), "regions": list(regions), "tables": found})
    else:
        found = _told(regions, chosen, tell_row)
        _tell_tables(tuple(regions), found)
    return 0 if _equal(found) else 1


def _told(regions: dict[str, str], chosen: Options, tell: Callable[[Finding], None]) -> tuple[TableResult, ...]:
    with meter() as watch:

        def without_bar(row: Finding) -> None:
            watch.clear()
            tell(row)

        return diff_regions(regions, chosen, without_bar, watch)


def two(regions: dict[str, str], command: str) -> dict[str, str]:
    """Exactly two regions, for what is done to a pair. Raises UsageError."""
    if len(regions) != 2:
        raise UsageError(
            f"{command} takes two regions, {len(regions)} given",
            hint="a pair at a time: --node NAME=DSN --node OTHER=DSN",
        )
    return regions


def _names(columns: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (columns or "").split(",") if name.strip())
    if columns is not None and not names:
        raise UsageError("--columns names no column", hint="--columns email,level")
    return names


def _equal(found: tuple[TableResult, ...]) -> bool:
    return all(result.equal for result in found)


def tell_row(row: Finding) -> None:
    """One row that differs, on a line."""
    key = " ".join(f"{printable(name)}={_plain(text)}" for name, text in row.key.items())
    if row.values:
        differs = f"differs in {', '.join(_values(name, texts) for name, texts in row.values.items())};"
        stands = f" {row.winner} wins:" if row.winner else ""
        why = f"{differs}{stands} {row.why}"
    else:
        only = f"only in {', '.join(row.regions)}"
        why = only if row.why == only else f"{only}; {row.why}"
    output.say(f"{printable(row.table)} {key} {printable(why)}")


def _plain(text: str) -> str:
    """A key as it can be copied: in quotes where it has anything but letters, digits and signs."""
    return text if _PLAIN.fullmatch(text) else repr(text)


def _values(name: str, texts: Mapping[str, str | None]) -> str:
    shown = ["NULL" if text is None else repr(text) for text in excerpts(list(texts.values()))]
    return f"{name} ({' | '.join(f'{region} {text}' for region, text in zip(texts, shown, strict=True))})"


def _tell_tables(names: tuple[str, ...], found: tuple[TableResult, ...]) -> None:
    rows = [
        [
            printable(result.table),
            *(str(result.rows[name]) for name in names),
            str(result.differing),
            str(result.changing),
        ]
        for result in found
    ]
    output.table("", ["table", *(f"rows in {name}" for name in names), "differ", "still changing"], rows)
    if _equal(found):
        output.tell("equal")
        return
    output.tell("the regions differ", style="yellow")
    output.tell("hint: migratectl merge --plan shows what would make them equal")
