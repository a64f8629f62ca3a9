"""Regions that were put back to an earlier state: the engines do not notice, and pass over what they write. Pure.

A follower remembers up to where it has applied its provider's log. When the provider is restored from a backup or a
snapshot, its log begins again below that; the follower still asks for what comes after, so what the provider writes is
passed over without a word until its log has grown so far again. What the follower wrote in between does not come
again to the provider either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accountdb.health.model import Reading, Silence


def put_back(provider: Reading, receiver: Reading, slot: str | None) -> bool | None:
    """Whether the provider's log ends before what its follower has of it. None: it was looked at too early to say."""
    if slot is None or provider.log_end is None:
        return False
    confirmed = next((one.position for one in provider.slots if one.name == slot), None)
    if confirmed is not None and confirmed > provider.log_end:
        return True
    if receiver.applied.get(slot, 0) <= provider.log_end:
        return False
    # The log may have grown, and been applied, between the two looks.
    return True if provider.log_end_at >= receiver.applied_at else None


def unsure(readings: Mapping[str, Reading | Silence]) -> Iterator[str]:
    """The providers whose log has to be looked at once more."""
    known = [one for one in readings.values() if isinstance(one, Reading)]
    for provider in known:
        slots = {slot.name for slot in provider.slots}
        if any(put_back(provider, one, slot) is None for one in known for slot in one.applied if slot in slots):
            yield provider.region
