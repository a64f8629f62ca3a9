"""Whether any stream passed something over: the beats of each region beside those that arrived at the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from accountdb.doctor.gaps import Gap, forgotten, passed_over
from accountdb.doctor.model import Look
from accountdb.doctor.region import Here
from accountdb.health import commands
from accountdb.health.advice import Finding, Remedy
from accountdb.pg.connect import Connection
from accountdb.pg.dsn import options
from accountdb.sql import block

_FILE = "doctor_beats.sql"


def judge_beats(looked_at: Mapping[str, tuple[Connection, Here]]) -> Iterator[Finding]:
    """Every stream between the regions. Connections are in autocommit."""
    streaming = {name: one for name, one in looked_at.items() if one[1].streams and one[1].joined}
    for name, (conn, here) in tuple(streaming.items()):
        if here.node is None or not _one(conn, "readable"):
            del streaming[name]
            yield here.look.unseen("gap", f"role {here.facts.role.name} may not read the beats")
    # First what arrived: a beat that is made meanwhile is not among them then.
    arrived: dict[str, dict[str, list[datetime]]] = {
        name: dict(conn.execute(block(_FILE, "arrived")).fetchall()) for name, (conn, _) in streaming.items()
    }
    regions = tuple(looked_at)
    for provider, (conn, there) in streaming.items():
        sent: Sequence[datetime] = _one(conn, "sent", node=there.node) or ()
        for receiver, (_, here) in streaming.items():
            if receiver != provider:
                came = arrived[receiver].get(there.node or "", [])
                proved = _one(conn, "proved", partner=here.node)
                yield judge(receiver, provider, regions, forgotten(sent, came, proved), passed_over(sent, came, proved))


def _one(conn: Connection, name: str, **values: str | None) -> Any:
    row = conn.execute(block(_FILE, name), values or None).fetchone()
    return row[0] if row else None


def judge(receiver: str, provider: str, regions: Sequence[str], unknown: Gap | None, lost: Gap | None) -> Finding:
    """What the beats say of one stream. Pure. ``unknown`` are those that only the receiver has, ``lost`` those that
    never arrived."""
    look = Look(receiver)
    pair = tuple(name for name in regions if name in (receiver, provider))
    if unknown:
        return look.failed(
            "gap",
            f"{provider} does not have {_told(unknown)} that {receiver} got from it",
            provider,
            f"{provider} was put back to an earlier state; what it had written, and what it missed, is not in it",
            Remedy(commands=(commands.resync_all(pair),)),
        )
    if lost:
        return look.failed(
            "gap",
            f"{_told(lost)} of {provider} never arrived, and later ones did",
            provider,
            "what was written then may be missing here",
            Remedy(commands=(f"migratectl merge {options(regions)}",)),
        )
    return look.passed("gap", f"no beat of {provider} was passed over", provider)


def _told(gap: Gap) -> str:
    beats = "a beat" if gap.beats == 1 else f"{gap.beats} beats"
    return f"{beats} ({gap.first:%Y-%m-%d %H:%M:%S} to {gap.last:%H:%M:%S} UTC)"
