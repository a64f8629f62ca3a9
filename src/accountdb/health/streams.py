"""One direction, out of what its receiver and its provider say. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accountdb.health import forecast
from accountdb.health.advice import NOTHING, Remedy
from accountdb.health.causes import Cause, StreamView, explain
from accountdb.health.forecast import Rates
from accountdb.health.model import Reading, Silence, SlotReading
from accountdb.replication.model import State, Subscription

# Beats say nothing any more of a provider that has made none for so long.
_RECENT_S = 90.0
# An epoch in seconds is exact to less than a microsecond: what is closer is one beat.
_SAME_S = 0.001


@dataclass(frozen=True)
class StreamStatus:
    """One direction: what the receiver says, and how far behind the provider says it is.

    Figures are None where the provider does not answer or nobody can say. ``lag_seconds`` is by the beats where there
    are recent ones (``measured`` is ``beats``), else by what the server says (``server``). ``lag_transactions`` is at
    most that many: it counts those that have nothing for this stream too. ``lost_in_seconds`` is the forecast of when
    the slot is lost. ``reason`` says why it is not replicating, ``cause`` is a word for it.
    """

    subscription: str
    state: State
    slot: str | None
    lag_bytes: int | None
    lag_seconds: float | None
    reason: str | None
    provider: str | None = None
    cause: str | None = None
    remedy: Remedy = NOTHING
    lag_transactions: int | None = None
    measured: str | None = None
    retained_bytes: int | None = None
    wal_status: str | None = None
    safe_bytes: int | None = None
    lost_in_seconds: float | None = None
    bytes_per_second: float | None = None
    transactions_per_second: float | None = None


def stream(view: StreamView, rates: Rates = forecast.NONE) -> StreamStatus:
    """The status of one direction. ``rates`` come from an earlier look, where there was one."""
    cause: Cause | None = explain(view)
    slot, provider = view.slot, view.provider if isinstance(view.provider, Reading) else None
    seconds, measured = lag_seconds(view)
    return StreamStatus(
        subscription=view.name,
        state=view.state,
        slot=view.subscription.slot,
        lag_bytes=slot.lag_bytes if slot else None,
        lag_seconds=seconds,
        reason=cause.says if cause else None,
        provider=view.provider_name,
        cause=cause.kind if cause else None,
        remedy=cause.remedy if cause else NOTHING,
        lag_transactions=_lag_transactions(view),
        measured=measured,
        retained_bytes=slot.retained_bytes if slot else None,
        wal_status=slot.wal_status if slot else None,
        safe_bytes=slot.safe_bytes if slot else None,
        lost_in_seconds=forecast.lost_in(slot, rates.growth_per_second, provider.wal_rate)
        if slot and provider
        else None,
        bytes_per_second=rates.bytes_per_second,
        transactions_per_second=rates.transactions_per_second,
    )


def lag_seconds(view: StreamView) -> tuple[float | None, str | None]:
    """How old the oldest beat is that has not arrived, and ``beats``; without recent beats what the server says.

    All in the clock of the provider, so that it is no matter how far apart the clocks are.
    """
    by_beats = _by_beats(view)
    if by_beats is not None:
        return round(by_beats, 3), "beats"
    followers = view.provider.standing.followers if isinstance(view.provider, Reading) else ()
    told = next((s.lag_seconds for s in followers if s.name == view.subscription.slot), None)
    return (max(told, 0.0), "server") if told is not None else (None, None)


def _by_beats(view: StreamView) -> float | None:
    provider = view.provider
    if not isinstance(provider, Reading) or provider.node is None:
        return None
    made, arrived = provider.beats.get(provider.node), view.receiver.beats.get(provider.node)
    if made is None or arrived is None:
        return None
    runs = view.state is State.REPLICATING
    if runs and view.slot is not None and view.slot.lag_bytes == 0:
        return 0.0  # level, whatever beats a stream that was made anew has missed
    missing = [at for at, _ in made.samples if (at - arrived.newest).total_seconds() > _SAME_S]
    if missing:
        return max((provider.clock - min(missing)).total_seconds(), 0.0)
    # That all beats came says nothing of what was written after the last one to a stream that stands.
    return 0.0 if runs and (provider.clock - made.newest).total_seconds() < _RECENT_S else None


def _lag_transactions(view: StreamView) -> int | None:
    slot, provider = view.slot, view.provider
    if slot is None:
        return None
    if slot.lag_bytes == 0:
        return 0
    bounds = [slot.lag_transactions] if slot.lag_transactions is not None else []
    if isinstance(provider, Reading) and provider.node:
        made, arrived = provider.beats.get(provider.node), view.receiver.beats.get(provider.node)
        if made and arrived:
            bounds += [
                max(since - 1, 0) for at, since in made.samples if abs((at - arrived.newest).total_seconds()) <= _SAME_S
            ]
    return min(bounds, default=None)


def views(readings: Mapping[str, Reading | Silence], receiver: Reading) -> tuple[StreamView, ...]:
    """Each subscription of a region with its provider and its slot there."""
    others = {name: one for name, one in readings.items() if name != receiver.region}
    subscriptions = receiver.standing.subscriptions
    found: list[tuple[Subscription, SlotReading | None, Reading | Silence | None]] = []
    for subscription in subscriptions:
        slot, provider = _slot(subscription, others)
        found.append((subscription, slot, provider or _by_node(receiver, subscription, others)))
    # Each region provides one stream: one that is left over provides the subscription that is left over.
    left = [one for name, one in others.items() if name not in {p.region for _, _, p in found if p}]
    unknown = [s for s, _, p in found if p is None]
    answer = all(isinstance(one, Reading) for one in others.values())
    return tuple(
        StreamView(
            receiver, s, p or _left_over(s, left, unknown), slot, tuple(readings), answer, siblings=subscriptions
        )
        for s, slot, p in found
    )


def _slot(
    subscription: Subscription, others: Mapping[str, Reading | Silence]
) -> tuple[SlotReading | None, Reading | None]:
    for other in others.values():
        if isinstance(other, Reading):
            for slot in other.slots:
                if slot.name == subscription.slot:
                    return slot, other
    return None, None


def _by_node(
    receiver: Reading, subscription: Subscription, others: Mapping[str, Reading | Silence]
) -> Reading | Silence | None:
    node = receiver.providers.get(subscription.name)
    return next((one for one in others.values() if isinstance(one, Reading) and node and one.node == node), None)


def _left_over(
    subscription: Subscription, left: Sequence[Reading | Silence], unknown: Sequence[Subscription]
) -> Reading | Silence | None:
    if len(left) == 1 and len(unknown) == 1:
        return left[0]
    # sub_from_global: as the guide and the lab name them.
    named = [one for one in left if subscription.name.endswith(f"_{one.region}")]
    return named[0] if len(named) == 1 else None
