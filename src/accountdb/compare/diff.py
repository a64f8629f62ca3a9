"""``migratectl diff``: two regions found equal, or every row named that is not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import combinations

from accountdb.catalog.secrets import declared_secrets
from accountdb.catalog.tables import Column
from accountdb.compare.columns import HashKind
from accountdb.compare.look import BATCH, Detail, Looker, Sight
from accountdb.compare.model import Finding, Key, Options, Pair, Parts, Shape, TableResult, Unwatched, Watch
from accountdb.compare.parts import measure, read_parts
from accountdb.compare.rows import differing_rows
from accountdb.compare.session import FILE, Region, at_one_snapshot, check_distinct, open_region, together
from accountdb.compare.shapes import common, negotiate, shapes
from accountdb.compare.spool import Spool
from accountdb.compare.told import Told
from accountdb.compare.verdict import Verdict, judge, winner
from accountdb.contract.masking import MASK, Secrets, printable, union
from accountdb.sql import block

# Waits until all has arrived that was committed when it was called, at most so many seconds.
Wait = Callable[[float], None]

Seen = tuple[Key, Sight | None, Sight | None]

_NO_ORDER = "no row order: the table is not under the row contract"
_NO_POLICY = "no row order: accountdb is not in both regions, or this role may not use it"


@dataclass(frozen=True)
class Comparison:
    """Two regions that can be compared: ``shapes`` are their tables, ``kind`` the hash for them."""

    a: Region
    b: Region
    shapes: tuple[Shape, ...]
    kind: HashKind
    secrets: Secrets = field(repr=False)
    policy: bool
    """Whether all can tell a row's fate: accountdb is there, and this role may use it."""
    others: tuple[Region, ...] = ()
    """More regions that are compared, each in a pair of its own. What is said of a row is said of all."""

    @property
    def names(self) -> tuple[str, str]:
        """Both regions' names."""
        return self.a.name, self.b.name

    @property
    def regions(self) -> tuple[Region, ...]:
        """All of them: a, b, then the others."""
        return self.a, self.b, *self.others

    def looker(self, shape: Shape) -> Looker:
        """Looks at rows of one table as they are now."""
        return Looker(self.a, self.b, shape, self.kind, self.others)


@contextmanager
def comparison(dsns: Mapping[str, str], options: Options, *, connections: int = 1) -> Iterator[Comparison]:
    """Connect to two regions and check that they can be compared, before a row is read.

    Raises UsageError and Refused for what is wrong with the request, ConnectError for a region that
    does not answer.
    """
    with comparisons(dsns, options, connections=connections) as (found,):
        yield found


@contextmanager
def comparisons(dsns: Mapping[str, str], options: Options, *, connections: int = 1) -> Iterator[tuple[Comparison, ...]]:
    """The same for two regions or more: the first one with each of the others, which is enough.

    Where the first one is equal to each of them, they are equal to each other.
    """
    with ExitStack() as stack:

        def opened(name: str) -> Region:
            return stack.enter_context(open_region(name, dsns[name], connections))

        regions = together(opened, dsns)
        for one, other in combinations(regions, 2):
            check_distinct(one, other)
        first, *rest = regions
        # One hash for all: what is not hashed alike in two of them is hashed in the careful way everywhere.
        kinds = {negotiate(first, other, options.hash_kind) for other in rest}
        kind = kinds.pop() if len(kinds) == 1 else HashKind.SHA256
        tables = common([shapes(first, other, options) for other in rest])
        secrets = union(together(_secrets, regions))
        policy = all(together(_policy, regions))
        yield tuple(
            Comparison(first, b, tables, kind, secrets, policy, tuple(one for one in rest if one is not b))
            for b in rest
        )


def _secrets(region: Region) -> dict[tuple[str, str], frozenset[str]]:
    with region.use() as conn:
        return declared_secrets(conn)


def _policy(region: Region) -> bool:
    with region.use() as conn:
        row = conn.execute(block(FILE, "policy")).fetchone()
    return bool(row and row[0])


def diff(
    found: Comparison,
    options: Options,
    wait: Wait,
    tell: Callable[[Finding], None],
    watch: Watch | None = None,
) -> tuple[TableResult, ...]:
    """Compare, call ``tell`` for each row that differs, table by table, and return what was found of each table.

    ``wait`` is called between two looks at the rows that differed in the first one, so that what is
    under way is not called a difference. Memory does not grow with the number of differences.
    """
    return diff_all([found], options, wait, tell, watch)


def diff_all(
    pairs: Sequence[Comparison],
    options: Options,
    wait: Wait,
    tell: Callable[[Finding], None],
    watch: Watch | None = None,
) -> tuple[TableResult, ...]:
    """The same for the pairs of ``comparisons``. A row that differs is told once, with all regions that have it."""
    watch = watch or Unwatched()
    results: dict[str, TableResult] = {}
    told = {shape.title: Told() for shape in pairs[0].shapes}
    for found in pairs:
        with ExitStack() as stack:
            seen, rows = _seen(found, options, watch, stack)
            changing = settle(found, options.settle_s or 0.0, seen, wait, watch, stack)
            for shape in found.shapes:
                title = shape.title
                # Kept only for pairs that are still to come.
                known, new = told[title], Told() if found is not pairs[-1] else None
                one = _tell_table(found, shape, seen[title], rows[title], changing[title], tell, (known, new))
                results[title] = results[title].with_more(one) if title in results else one
                told[title] = known.with_more(new) if new else known
    return tuple(results.values())


def _seen(
    found: Comparison, options: Options, watch: Watch, stack: ExitStack
) -> tuple[dict[str, Spool[Seen]], dict[str, dict[str, int]]]:
    """The rows of two regions that differ in the first look, and how many rows there are, by table."""
    rows: dict[str, dict[str, int]] = {}
    seen: dict[str, Spool[Seen]] = {}
    with first_look(found, options.jobs) as look:
        for shape in found.shapes:
            watch.stage(printable(shape.title), look.estimate(shape))
            parts = look.parts(shape, options.where, watch)
            rows[shape.title] = dict(zip(found.names, (parts.rows(parts.a), parts.rows(parts.b)), strict=True))
            spool = stack.enter_context(closing(Spool[Seen]()))
            for pair in look.rows(shape, parts, options.where):
                spool.add((pair.key, unranked(pair.a), unranked(pair.b)))
            seen[shape.title] = spool
    return seen, rows


@dataclass(frozen=True)
class FirstLook:
    """Both regions at one snapshot each."""

    found: Comparison
    a: Region
    b: Region

    def estimate(self, shape: Shape) -> int:
        """About how many rows there are to read, in both regions together."""
        return sum(max(size.rows, 0) for size in measure(self.a, self.b, shape).values())

    def parts(self, shape: Shape, where: str | None, watch: Watch) -> Parts:
        """One table's parts."""
        return read_parts(self.a, self.b, shape, measure(self.a, self.b, shape), self.found.kind, where, watch)

    def rows(
        self, shape: Shape, parts: Parts, where: str | None, wanted: Sequence[int] | None = None
    ) -> Iterator[Pair]:
        """The rows that differ, in the ``wanted`` parts (None: in all that do)."""
        return differing_rows(self.a, self.b, shape, parts, self.found.kind, where, wanted)


@contextmanager
def first_look(found: Comparison, jobs: int) -> Iterator[FirstLook]:
    """Snapshots of both regions, taken at about the same time."""
    with ExitStack() as stack:
        tables = [shape.identifier for shape in found.shapes]

        def taken(region: Region) -> Region:
            return stack.enter_context(at_one_snapshot(region.name, region.dsn, tables, jobs))

        a, b = together(taken, (found.a, found.b))
        yield FirstLook(found, a, b)


def unranked(hash_: int | None) -> Sight | None:
    """What the first look saw of a row."""
    return None if hash_ is None else Sight(hash_, None)


def settle(
    found: Comparison,
    settle_s: float,
    seen: dict[str, Spool[Seen]],
    wait: Wait,
    watch: Watch,
    stack: ExitStack,
) -> dict[str, set[Key]]:
    """Look again until every row is equal or stays as it is; what changes to the end is returned by table.

    Replaces the spools in ``seen`` by those of the rows that differ; ``stack`` closes them.
    """
    changing: dict[str, set[Key]] = {title: set() for title in seen}
    deadline = time.monotonic() + settle_s
    again = {title: spool for title, spool in seen.items() if spool.count}
    if not again or not settle_s:
        return changing
    by_title = {shape.title: shape for shape in found.shapes}
    differing = {title: stack.enter_context(closing(Spool[Seen]())) for title in again}
    while again:
        watch.stage(f"{sum(spool.count for spool in again.values())} rows once more")
        wait(max(deadline - time.monotonic(), 0.1))
        late = time.monotonic() > deadline
        later: dict[str, Spool[Seen]] = {}
        for title, spool in again.items():
            moving = stack.enter_context(closing(Spool[Seen]()))
            for row, verdict in _looked_again(found.looker(by_title[title]), spool):
                if verdict is Verdict.CHANGING and not late:
                    moving.add(row)
                elif verdict is not Verdict.EQUAL:
                    differing[title].add(row)
                    if verdict is Verdict.CHANGING:
                        changing[title].add(row[0])
            spool.close()
            if moving.count:
                later[title] = moving
        again = later
    seen.update(differing)
    return changing


def _looked_again(looker: Looker, spool: Spool[Seen]) -> Iterator[tuple[Seen, Verdict]]:
    for batch in spool.batches():
        for (key, *before), now in zip(batch, looker.sights([row[0] for row in batch]), strict=True):
            yield (key, *now), judge((before[0], before[1]), now)


def _tell_table(
    found: Comparison,
    shape: Shape,
    spool: Spool[Seen],
    rows: dict[str, int],
    changing: set[Key],
    tell: Callable[[Finding], None],
    told: tuple[Told, Told | None],
) -> TableResult:
    """``told`` are the rows that need not be told again, and where to keep those that are told now."""
    looker = found.looker(shape)
    differing = moving = 0
    known, new = told
    for batch in spool.batches():
        for start in range(0, len(batch), BATCH):
            keys = [key for key, *_ in batch[start : start + BATCH] if key not in known]
            for finding, key in zip(describe(found, looker, keys), keys, strict=True):
                if finding is None:
                    continue
                if key in changing:
                    moving += 1
                else:
                    differing += 1
                if new is not None:
                    new.add(key)
                tell(finding)
    return TableResult(shape.title, rows, differing, moving)


def describe(found: Comparison, looker: Looker, keys: Sequence[Key]) -> list[Finding | None]:
    """What is to be said of some rows; None for those that are equal by now."""
    policy = found.policy and looker.shape.ordered
    details = looker.whole(keys, policy=policy)
    dead = looker.dead_anywhere(keys) if policy else {}
    names = [region.name for region in found.regions]
    findings: list[Finding | None] = []
    for key, row in zip(keys, details, strict=True):
        held = {name: detail for name, detail in zip(names, row, strict=True) if detail}
        alike = len({detail.hash for detail in held.values()}) < 2
        if alike and len(held) in (0, len(names)):
            findings.append(None)
            continue
        who, why = None, _NO_POLICY if looker.shape.ordered else _NO_ORDER
        if policy:
            copies = [detail.copy if detail else None for detail in row]
            uuid = next(copy.uuid for copy in copies if copy)
            who, why = winner(names, copies, dead.get(uuid, {}))
        elif alike:
            why = f"only in {', '.join(held)}"
        lacking = [name for name in names if name not in held]
        if lacking and not alike:
            why += f"; not in {', '.join(lacking)}"
        findings.append(_finding(found, looker.shape, key, held, who, why))
    return findings


def _finding(
    found: Comparison, shape: Shape, key: Key, held: Mapping[str, Detail], who: str | None, why: str
) -> Finding:
    values: dict[str, dict[str, str | None]] = {}
    for position, column in enumerate(shape.columns):
        texts = {name: detail.values[position] for name, detail in held.items()}
        if len(set(texts.values())) > 1:
            values[column.name] = {
                name: None if text is None else _masked(found, shape, column, text) for name, text in texts.items()
            }
    named = {column.name: _masked(found, shape, column, text) for column, text in zip(shape.key, key, strict=True)}
    regions = tuple(held)
    return Finding(shape.title, named, regions, tuple(values), values, who, why)


def _masked(found: Comparison, shape: Shape, column: Column, text: str) -> str:
    """A value to show. Of json only what is secret in it is hidden; where it cannot be read, all of it."""
    table = (shape.schema, shape.name)
    if found.secrets.hides(table, column.name):
        return MASK
    if column.base_type not in ("json", "jsonb"):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return MASK
    masked = found.secrets.masked(table, {column.name: value})
    assert masked is not None
    return text if masked[column.name] == value else json.dumps(masked[column.name], ensure_ascii=False)
