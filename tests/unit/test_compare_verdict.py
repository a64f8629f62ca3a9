"""What two looks at a row say: nothing that is under way is called a difference, and no difference is overlooked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountdb.compare.look import Sight
from accountdb.compare.verdict import Sights, Verdict, excerpts, judge, winner
from accountdb.contract.decide import Copy
from accountdb.contract.row_order import RowStamp

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def seen(version: int, content: int = 0, node: bytes = b"node_cn") -> Sight:
    """A copy of a row."""
    return Sight(hash((version, content, node)), (version, NOON, node))


def unranked(sight: Sight | None) -> Sight | None:
    """As the first look sees it."""
    return None if sight is None else Sight(sight.hash, None)


# -- a world of two regions with guards --


@dataclass
class World:
    """One row in two regions whose guards keep the newer copy, and what each has sent to the other."""

    rows: list[Sight | None]
    sent: list[list[Sight]] = field(default_factory=lambda: [[], []])
    arrived: list[int] = field(default_factory=lambda: [0, 0])
    clock: int = 0

    def write(self, side: int) -> None:
        """A user writes the row."""
        own = self.rows[side]
        self.clock += 1
        version = (own.rank[0] if own and own.rank else 0) + 1
        node = b"node_cn" if side == 0 else b"node_global"
        sight = Sight(hash((version, self.clock, node)), (version, NOON + timedelta(seconds=self.clock), node))
        self.rows[side] = sight
        self.sent[side].append(sight)

    def deliver(self, side: int, upto: int | None = None) -> None:
        """The next change of ``side`` arrives on the other side; with ``upto``, all before that one."""
        end = min(self.arrived[side] + 1, len(self.sent[side])) if upto is None else upto
        for sight in self.sent[side][self.arrived[side] : end]:
            own = self.rows[1 - side]
            assert sight.rank
            if own is None or (own.rank and sight.rank > own.rank):
                self.rows[1 - side] = sight
        self.arrived[side] = max(self.arrived[side], end)

    def look(self) -> Sights:
        """Both copies."""
        return self.rows[0], self.rows[1]

    def act(self, actions: list[tuple[str, int]]) -> None:
        """Whatever happens meanwhile."""
        for action, side in actions:
            if action == "write":
                self.write(side)
            else:
                self.deliver(side)

    def settled(self) -> Sights:
        """Both copies when nobody writes any more and all has arrived."""
        for side in (0, 1):
            self.deliver(side, len(self.sent[side]))
        return self.look()


actions = st.lists(st.tuples(st.sampled_from(["write", "deliver"]), st.sampled_from([0, 1])), max_size=12)
copies = st.one_of(st.none(), st.builds(seen, st.integers(0, 6), st.integers(0, 2), st.sampled_from([b"a", b"b"])))


def looked_at_twice(world: World, meanwhile: list[tuple[str, int]], after: list[tuple[str, int]]) -> Verdict:
    """The verdict on what differs now, once all that was sent by now has arrived."""
    before = world.look()
    sent = [len(one) for one in world.sent]
    world.act(meanwhile)
    for side in (0, 1):
        world.deliver(side, max(sent[side], world.arrived[side]))
    world.act(after)
    return judge(before, world.look())


@given(actions, actions, actions)
def test_what_is_under_way_is_no_difference(
    first: list[tuple[str, int]], meanwhile: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    world = World([None, None])
    world.act(first)
    verdict = looked_at_twice(world, meanwhile, after)
    assert verdict is Verdict.EQUAL


@given(copies, copies, actions, actions, actions)
def test_what_is_called_equal_ends_equal(
    a: Sight | None,
    b: Sight | None,
    first: list[tuple[str, int]],
    meanwhile: list[tuple[str, int]],
    after: list[tuple[str, int]],
) -> None:
    world = World([a, b])
    world.act(first)
    if looked_at_twice(world, meanwhile, after) is Verdict.EQUAL:
        here, there = world.settled()
        assert here == there


@given(copies, copies)
def test_a_row_that_nobody_writes_differs_or_is_equal(a: Sight | None, b: Sight | None) -> None:
    expected = Verdict.EQUAL if (a and a.hash) == (b and b.hash) else Verdict.DIFFERS
    assert judge((a, b), (a, b)) is expected
    assert judge((unranked(a), unranked(b)), (a, b)) is expected


@given(copies, copies, copies, copies)
def test_the_first_look_alone_calls_no_moving_row_equal(
    a: Sight | None, b: Sight | None, now_a: Sight | None, now_b: Sight | None
) -> None:
    """Its copies have no rank: what has changed since is looked at once more, unless both are the same by now."""
    if a is None or b is None or a.hash == b.hash:
        return
    verdict = judge((unranked(a), unranked(b)), (now_a, now_b))
    assert (verdict is Verdict.EQUAL) == ((now_a and now_a.hash) == (now_b and now_b.hash))


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ((seen(3), seen(2)), (seen(5), seen(4)), Verdict.EQUAL),
        ((seen(3), seen(2)), (seen(5), seen(3)), Verdict.EQUAL),
        # Each has the other's copy: without guards this would go on for ever.
        ((seen(3, 1), seen(3, 2)), (seen(3, 2), seen(3, 1)), Verdict.CHANGING),
        # One took in nothing.
        ((seen(3), seen(9)), (seen(5), seen(9)), Verdict.CHANGING),
        ((seen(3, 1), seen(3, 2)), (seen(4), seen(3, 2)), Verdict.CHANGING),
        # Another content under the same stamp is not newer.
        ((seen(3, 1), seen(3, 2)), (seen(3, 3), seen(3, 2)), Verdict.CHANGING),
        ((seen(3), None), (seen(4), None), Verdict.CHANGING),
        ((seen(3), None), (None, seen(3)), Verdict.CHANGING),
        ((seen(3), None), (None, None), Verdict.EQUAL),
        ((seen(3), None), (seen(4), seen(3)), Verdict.EQUAL),
    ],
)
def test_a_moving_row_is_equal_once_both_hold_the_newest_or_newer(
    before: Sights, now: Sights, verdict: Verdict
) -> None:
    assert judge(before, now) is verdict
    assert judge(before[::-1], now[::-1]) is verdict


# -- who wins, and why --

ROW = UUID(int=1)
NAMES = ("cn", "global")


def copy(version: int = 1, seconds: int = 0, node: str = "node_cn", content: str = "a", life: int = 0) -> Copy:
    """One region's copy."""
    stamp = RowStamp(version, NOON + timedelta(seconds=seconds), node, content)
    return Copy(ROW, NOON + timedelta(days=life), stamp, (content,))


@pytest.mark.parametrize(
    ("a", "b", "dead", "expected"),
    [
        (copy(3), copy(2, 9), [], ("cn", "version 3 over 2")),
        (
            copy(2, 1),
            copy(2, 2),
            [],
            ("global", f"updated {NOON:%Y-%m-%d} 12:00:02+00:00 over 2026-01-01 12:00:01+00:00"),
        ),
        (copy(node="node_cn"), copy(node="node_global"), [], ("global", "origin_node node_global over node_cn")),
        (
            copy(content="b"),
            copy(content="a"),
            [],
            ("cn", "all equal but the content: its hash is greater than in global"),
        ),
        (copy(), None, [], ("cn", "only in cn")),
        (None, copy(), [], ("global", "only in global")),
        (copy(), None, [0], (None, "deleted: a tombstone says so")),
        (copy(1), copy(2), [0], (None, "deleted: a tombstone says so")),
        (copy(9, life=0), copy(1, life=1), [0], ("global", "the other copy is of a row that was deleted")),
        (copy(1, life=1), copy(9, life=0), [0], ("cn", "the other copy is of a row that was deleted")),
        (copy(1, life=1), None, [0], ("cn", "only in cn")),
    ],
)
def test_the_winner_is_told_with_the_first_rule_that_decides(
    a: Copy | None, b: Copy | None, dead: list[int], expected: tuple[str | None, str]
) -> None:
    lives = {NOON + timedelta(days=life): None for life in dead}
    assert winner(NAMES, (a, b), lives) == expected
    told, why = winner(NAMES[::-1], (b, a), lives)
    assert (told, why) == expected


# -- values on a line --


def test_short_values_are_told_whole() -> None:
    assert excerpts(["a" * 60, None]) == ["a" * 60, None]
    assert excerpts([None, ""]) == [None, ""]


def test_of_long_values_the_difference_is_told() -> None:
    here, there = excerpts(["x" * 500 + "here" + "y" * 500, "x" * 500 + "there" + "y" * 500])
    assert (here, there) == ("…" + "x" * 20 + "here" + "y" * 36 + "…", "…" + "x" * 20 + "there" + "y" * 35 + "…")


@given(st.text(max_size=200), st.text(max_size=200))
def test_different_values_are_told_differently(a: str, b: str) -> None:
    here, there = excerpts([a, b])
    assert (here == there) == (a == b)
    assert all(len(text or "") <= 62 for text in (here, there))
