"""The healing pass of the guards: ``migratectl merge --recent``.

What a guard writes is not forwarded, so a release that only one region had cause for leaves the
two different. This pass looks only at the rows that a conflict or a tombstone names, and has each
region apply the other's copy through its own guard: the same judge, so the same verdict, whatever
happens in between. Run again, it changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from psycopg import sql

from accountdb.catalog.tables import Table
from accountdb.compare.diff import Comparison, first_look
from accountdb.compare.model import Key, Shape, Unwatched
from accountdb.compare.session import Region
from accountdb.errors import AccountdbError
from accountdb.merge.judging import Judged, decisions
from accountdb.merge.rows import Regions
from accountdb.merge.run import close_healed
from accountdb.merge.writer import Writer
from accountdb.sql import block

_FILE = "merge/heal.sql"
_MAX_ROUNDS = 8
_MOST_RECENT = 10_000

# A row: schema, table, uuid.
Row = tuple[str, str, str]


@dataclass(frozen=True)
class HealReport:
    """What a pass did. ``written`` counts rows inserted, updated and deleted, by region.

    ``different`` are the rows that still differ after the last round, as table and uuid: none,
    unless writes or a stream were under way.
    """

    looked_at: int
    rounds: int
    written: Mapping[str, int]
    different: tuple[tuple[str, str], ...]

    def after(self, before: HealReport | None) -> HealReport:
        """This pass of a pair after an earlier one of the same pair."""
        if before is None:
            return self
        written = {name: count + before.written[name] for name, count in self.written.items()}
        return HealReport(max(self.looked_at, before.looked_at), self.rounds + before.rounds, written, self.different)

    @classmethod
    def of(cls, pairs: Sequence[HealReport]) -> HealReport:
        """The passes of one region with each of the others as one."""
        written: Counter[str] = Counter()
        for pair in pairs:
            written.update(pair.written)
        different = dict.fromkeys(row for pair in pairs for row in pair.different)
        return cls(
            max(pair.looked_at for pair in pairs), sum(pair.rounds for pair in pairs), dict(written), tuple(different)
        )


def heal(
    found: Comparison,
    tables: Mapping[str, Table],
    writers: Mapping[str, Sequence[Writer]],
    run_dry: Callable[[], None],
    *,
    within_s: float = 86_400.0,
    more: Iterable[Row] = (),
) -> HealReport:
    """Heal what conflicts and tombstones of the last ``within_s`` seconds name, in any region, and what is open.

    ``found`` has its tables parents first. ``run_dry`` returns when each region has applied all
    that the others had committed when it was called, and raises otherwise: a tombstone that was
    read before it is then never ahead of the changes that it followed, of a child moved away
    before its parent was deleted, say.
    One that was not there by then is left to the next pass. ``more`` are rows that are looked at too.
    """
    a, b = found.names
    regions = Regions(found, tables, writers[a][0], writers[b][0])
    written = {a: 0, b: 0}
    looked_at: set[Row] = set()
    before: list[tuple[Shape, Judged]] = []
    work: list[tuple[Shape, Judged]] = []
    rounds = 0
    while rounds < _MAX_ROUNDS:
        rounds += 1
        named = _named(found.regions, within_s).union(more)
        looked_at |= named
        dead = {shape.title: found.looker(shape).dead(_keys(named, shape)) for shape in found.shapes}
        run_dry()
        work = [
            (shape, one)
            for shape in found.shapes
            for one in decisions(found, shape, _keys(named, shape))
            if not one.deletes or UUID(one.key[0]) in dead[shape.title]
        ]
        if not work or work == before:
            # What comes out the same again waits for something else: an orphan for its parent, say.
            break
        before = work
        _apply(regions, found.shapes, work)
        for _, one in work:
            written[a] += one.decision.a.acts
            written[b] += one.decision.b.acts
    close_healed(found, tables)
    return HealReport(len(looked_at), rounds, written, tuple((shape.name, one.key[0]) for shape, one in work))


def recent(found: Comparison, within_s: float) -> set[Row]:
    """Rows changed within the last ``within_s`` seconds that two regions hold differently.

    With three regions or more an update can reach a region before the insert that it follows, which comes from
    another one. The engines skip it there, and nobody records that. Raises AccountdbError where they are so many that
    it is no healing any more.
    """
    since = sql.Literal(datetime.now(UTC) - timedelta(seconds=within_s)).as_string(None)
    where = f"t.updated_at > {since}"
    differing: set[Row] = set()
    with first_look(found, 1) as at:
        for shape in found.shapes:
            parts = at.parts(shape, where, Unwatched())
            for pair in at.rows(shape, parts, where):
                differing.add((shape.schema, shape.name, pair.key[0]))
                if len(differing) > _MOST_RECENT:
                    raise AccountdbError(
                        f"more than {_MOST_RECENT} rows that were changed lately differ between {found.a.name} and"
                        f" {found.b.name}",
                        hint="a region that is new, or was away, is brought up by a whole merge: migratectl merge",
                    )
    return differing


def _apply(regions: Regions, shapes: Sequence[Shape], work: Sequence[tuple[Shape, Judged]]) -> None:
    """Writes parents first, then deletes children first: a child that has moved is there before its old parent goes."""
    for shape in shapes:
        regions.write(shape, [one for of, one in work if of is shape], patient=False)
    for shape in reversed(shapes):
        regions.delete(shape, [one for of, one in work if of is shape])


def _named(regions: Iterable[Region], within_s: float) -> set[Row]:
    found: set[Row] = set()
    for region in regions:
        with region.use() as conn:
            found.update(conn.execute(block(_FILE, "named"), {"seconds": within_s}).fetchall())
    return found


def _keys(named: Iterable[Row], shape: Shape) -> list[Key]:
    return sorted((key,) for schema, name, key in named if (schema, name) == (shape.schema, shape.name))
