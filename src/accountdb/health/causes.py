"""Why a stream does not run, and what mends it. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from accountdb.guards.install import GuardState
from accountdb.health import commands, log
from accountdb.health.advice import NOTHING, Remedy
from accountdb.health.model import LogLine, Reading, Silence, SlotReading
from accountdb.health.restored import put_back
from accountdb.pg.dsn import options
from accountdb.replication.model import Mode, State, Subscription

# For how long after its provider's start a stream is expected to come back by itself, where the log has no times.
_RESTART_S = 15.0
# What a receiver hears of its provider's error comes that soon after it.
_CONSEQUENCE_S = 3.0
# A try so soon after it may have come too early.
_TOO_EARLY_S = 2.0
_STARTING = re.compile(r"is (starting up|shutting down)")

_PASSWORD = re.compile(
    r"password authentication failed|no password supplied|role \"[^\"]*\" does not exist|no pg_hba\.conf entry"
    r"|is not permitted to log in|must be superuser or replication role|permission denied to start WAL sender"
)
_WORKERS = re.compile(
    r"out of (logical replication|background) worker slots|worker registration failed|no free .*worker|worker slots"
)
_LOST = re.compile(r"can no longer get changes|requested WAL segment .* already been removed|has been invalidated")
_NO_SLOT = re.compile(r"replication slot \"[^\"]*\" does not exist")
_READ_ONLY = re.compile(r"in a read-only transaction")
_STRUCTURE = re.compile(
    r"missing replicated column|target relation .* (does not exist|is missing)|incompatible .*column"
    r"|relation .* not found|unknown column name"
)
# pglogical says it while it applies, and means the connection.
_DIED = "connection to other side has died"
_LINK = re.compile(
    r"could not connect|connection (refused|reset|timed out|to .* failed)|could not receive data"
    r"|server closed the connection|terminating (logical replication worker|walreceiver) due to timeout"
    r"|data stream ended|WAL stream"
    r"|could not (translate|send)|no route to host|unreachable|is (starting up|shutting down)|connection is bad"
    r"|could not start WAL streaming|timeout expired|terminating connection",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Cause:
    """Why a stream does not run. ``kind`` is a stable word for programs, ``says`` one line for a person."""

    kind: str
    says: str
    remedy: Remedy = NOTHING


@dataclass(frozen=True)
class StreamView:
    """A subscription with all that is known of it. ``provider`` is None where no region is known to be it.

    ``slot`` is its slot there; ``regions`` are the names of all, in their order.
    """

    receiver: Reading
    subscription: Subscription
    provider: Reading | Silence | None
    slot: SlotReading | None
    regions: tuple[str, ...]
    others_answer: bool = True
    """Whether every other region answered: where not, a slot that was not seen may be there."""
    siblings: tuple[Subscription, ...] = field(default=())

    @property
    def name(self) -> str:
        """The subscription's name."""
        return self.subscription.name

    @property
    def state(self) -> State:
        """Its state by all that the regions say: a worker can believe that it streams while nobody listens."""
        state = self.subscription.state
        if (self.slot is not None and self.slot.lost) or self.put_back:
            return State.DOWN
        if state is State.REPLICATING and self.slot is not None and not self.slot.active:
            return State.DOWN
        return state

    @property
    def put_back(self) -> bool:
        """Whether its provider was put back to an earlier state, so that the stream passes over what it writes."""
        if not isinstance(self.provider, Reading):
            return False
        return bool(put_back(self.provider, self.receiver, self.subscription.slot))

    @property
    def provider_name(self) -> str | None:
        """The provider's region."""
        return self.provider.region if self.provider else None


def explain(view: StreamView) -> Cause | None:
    """Why a stream is not replicating; None where it is. Its remedy works as it stands."""
    if view.state is State.REPLICATING:
        return None
    ways = (_told_by_state, _told_by_slot, _told_by_provider, _told_by_log, _told_by_regions)
    return next((cause for way in ways if (cause := way(view))), None) or _unknown(view)


def _resume(view: StreamView) -> str:
    return commands.resume(view.receiver.region, view.name, [s.name for s in view.siblings])


def _pair(view: StreamView) -> list[str]:
    """Receiver and provider, in the order of the regions; all of them where the provider is not known."""
    return [name for name in view.regions if name in (view.receiver.region, view.provider_name or name)]


def _resync(view: StreamView) -> Remedy:
    return Remedy(commands=(commands.resync(_pair(view), view.receiver.region),))


def _told_by_state(view: StreamView) -> Cause | None:
    if view.state is State.DISABLED:
        return Cause("disabled", "it was paused, or the server disabled it", Remedy(commands=(_resume(view),)))
    if view.state is State.PENDING:
        # Its join makes this subscription too.
        return Cause("pending", "the provider has not joined yet", _join_there(view))
    if view.state is State.INITIALIZING:
        return Cause("initializing", "it is being made ready", Remedy("wait a few seconds"))
    return None


def _join_there(view: StreamView) -> Remedy:
    provider = view.provider
    if provider is None:
        return Remedy("migratectl region join on the provider")
    node = (provider.node if isinstance(provider, Reading) else None) or f"node_{provider.region}"
    return Remedy(commands.ADDRESSES, (commands.join(provider.region, node, view.receiver.region),))


def _told_by_slot(view: StreamView) -> Cause | None:
    slot = view.subscription.slot
    if view.slot is not None and view.slot.lost:
        quota = view.provider.slot_quota_mb if isinstance(view.provider, Reading) else -1
        why = f" (max_slot_wal_keep_size is {quota} MB)" if quota >= 0 else ""
        # Each version of PostgreSQL says it in other words, and a worker only at its next try.
        return Cause("slot_lost", f'can no longer get changes from replication slot "{slot}"{why}', _resync(view))
    if view.put_back:
        return Cause(
            "restored",
            f"{view.provider_name} was put back to an earlier state, and what it writes now is passed over",
            Remedy(commands=(commands.resync_all(_pair(view)),)),
        )
    if slot and view.slot is None and (isinstance(view.provider, Reading) or view.others_answer):
        where = f" on {view.provider_name}" if view.provider_name else ""
        return Cause("slot_missing", f'replication slot "{slot}"{where} is gone', _resync(view))
    return None


def _told_by_provider(view: StreamView) -> Cause | None:
    """What keeps the provider from sending: the receiver hears only that the stream ended."""
    provider = view.provider
    if not isinstance(provider, Reading):
        return None
    if view.receiver.standing.mode is Mode.PGLOGICAL and not provider.has_pglogical:
        says = f"{provider.region} has lost its extension pglogical"
        return Cause("extension", says, Remedy(f"see what is said of {provider.region}"))
    failed = [line for line in provider.log or () if line.sending == view.subscription.slot]
    line, heard = (failed[-1] if failed else None), _newest(view)
    if line is None or not line.at or not heard or not heard.at:
        return None
    ahead = view.receiver.skew_s - provider.skew_s
    if (heard.at - line.at).total_seconds() - ahead > _CONSEQUENCE_S:
        return None  # it was tried since, and something else failed
    text = f"{provider.region} cannot send: {line.message}"
    if "node not found" in line.message:
        return Cause("provider_left", text, _join_there(view))
    return Cause("slot_unreadable", text, _resync(view))


def _told_by_log(view: StreamView) -> Cause | None:
    line = _newest(view)
    if line is None:
        return None
    text, provider = line.message, view.provider_name or "its provider"
    if _PASSWORD.search(text):
        return Cause("password", f"{provider} does not let it in: {text}", _password(view))
    if _WORKERS.search(text):
        return Cause("workers", text, _more_workers(view))
    if _READ_ONLY.search(text) or view.receiver.read_only:
        return _read_only(view.receiver, text)
    if _LOST.search(text) or _NO_SLOT.search(text):
        return Cause("slot_missing", text, _resync(view))
    if _STRUCTURE.search(text):
        return Cause("structure", text, _mend_structure(view))
    if _DIED in text:
        return _link(view, text, line)
    if line.of_worker:
        missing = _missing_columns(view)
        if missing:
            return Cause("structure", f"{view.receiver.region} has no {missing}: {text}", _mend_structure(view))
        return _guardless(view, text) or _blocked(view, text)
    if _LINK.search(text):
        return _link(view, text, line)
    return _blocked(view, text)


def _blocked(view: StreamView, text: str) -> Cause:
    return Cause("apply", text, Remedy(commands=(commands.unblock(_pair(view)),)))


def _guardless(view: StreamView, text: str) -> Cause | None:
    """What a guard would have settled, where one is not in place."""
    receiver = view.receiver
    broken = ", ".join(f"{g.table} ({g.state})" for g in receiver.guards if g.state is not GuardState.INSTALLED)
    if not broken:
        return None
    init = commands.init(receiver.region, receiver.standing.mode)
    return Cause("guard", f"{text}; not guarded: {broken}", Remedy(commands=(init, _resume(view))))


def _newest(view: StreamView) -> LogLine | None:
    if not view.receiver.log:
        return None
    own = [view.name, *([view.subscription.slot] if view.subscription.slot else [])]
    others = [word for s in view.siblings if s.name != view.name for word in (s.name, s.slot) if word]
    # Errors of those who read from here are in the same log.
    others += [slot.name for slot in view.receiver.slots]
    lines: Sequence[LogLine] = log.lines_of(view.receiver.log, own, others)
    told = (line for line in reversed(lines) if line.severity in ("ERROR", "FATAL") or _WORKERS.search(line.message))
    return next((line for line in told if not line.sending), None)


def _told_by_regions(view: StreamView) -> Cause | None:
    receiver, provider = view.receiver, view.provider
    if receiver.read_only or receiver.in_recovery:
        return _read_only(receiver, "")
    if isinstance(provider, Silence):
        return Cause(
            "provider",
            f"{provider.region} cannot be reached: {provider.message}",
            Remedy(f"start {provider.region}, or mend the network to it; then the stream goes on by itself"),
        )
    if isinstance(provider, Reading):
        if _just_started(view, provider, None):
            return _link(view, "", None)
        missing = _missing_columns(view)
        if missing:
            return Cause("structure", f"{receiver.region} has no {missing}", _mend_structure(view))
    workers = receiver.workers
    if workers.apply_used >= workers.apply_max:
        text = f"{workers.apply_used} of {workers.apply_max} logical replication workers are taken"
        return Cause("workers", text, _more_workers(view))
    return None


def _unknown(view: StreamView) -> Cause:
    denied = view.receiver.log_denied
    if denied:
        return Cause("unknown", f"{denied}, where the cause stands", Remedy(commands=(_resume(view),)))
    return Cause("unknown", "no error is in the server's log", Remedy(commands=(_resume(view),)))


def _link(view: StreamView, text: str, line: LogLine | None) -> Cause:
    receiver, provider = view.receiver.region, view.provider
    if isinstance(provider, Reading) and _just_started(view, provider, line):
        seconds = (provider.clock - provider.started_at).total_seconds()
        said = f": {text}" if text else ""
        return Cause(
            "restarted",
            f"{provider.region} restarted {seconds:.0f} s ago, the stream connects again by itself{said}",
            # pglogical waits up to three minutes before its next try.
            Remedy("nothing has to be done; this has it try at once", (_resume(view),)),
        )
    if isinstance(provider, Silence):
        says = f"start {provider.region}, or mend the network between {receiver} and {provider.region}"
        return Cause(
            "provider",
            f"{provider.region} cannot be reached: {text}",
            Remedy(f"{says}; then this has it try at once", (_resume(view),)),
        )
    there = view.provider_name or "its provider"
    return Cause(
        "link",
        f"its connection to {there} broke: {text}",
        Remedy(f"mend the network between {receiver} and {there}; then this has it try at once", (_resume(view),)),
    )


def _just_started(view: StreamView, provider: Reading, line: LogLine | None) -> bool:
    """Whether the stream broke because its provider restarted: it was not tried since then."""
    if line is None or line.at is None:
        return (provider.clock - provider.started_at).total_seconds() < _RESTART_S
    ahead = view.receiver.skew_s - provider.skew_s
    since = (line.at - provider.started_at).total_seconds() - ahead
    return since < _TOO_EARLY_S or bool(_STARTING.search(line.message))


def _password(view: StreamView) -> Remedy:
    provider = view.provider_name
    if provider is None:
        return Remedy("give the subscription its provider's new password: migratectl region password")
    siblings = [s.name for s in view.siblings]
    return Remedy(commands=(commands.password(view.receiver.region, view.name, provider, siblings),))


def _more_workers(view: StreamView) -> Remedy:
    workers, region = view.receiver.workers, view.receiver.region
    statements: list[str] = []
    apply = 0
    if view.receiver.standing.mode is Mode.NATIVE:
        apply = max(2 * workers.apply_max, 4)
        statements.append(f"ALTER SYSTEM SET max_logical_replication_workers = {apply}")
    # Both engines take their processes from one pool.
    if workers.all_max < apply + 8:
        statements.append(f"ALTER SYSTEM SET max_worker_processes = {apply + 16}")
    elif not statements:
        statements.append(f"ALTER SYSTEM SET max_worker_processes = {2 * workers.all_max}")
    says = f"run this, then restart the server of {region}"
    return Remedy(says, tuple(commands.psql(region, one) for one in statements))


def _read_only(receiver: Reading, text: str) -> Cause:
    region = receiver.region
    if receiver.in_recovery:
        return Cause(
            "read_only",
            f"{region} is a standby: it takes no changes",
            Remedy(f"promote it, or name the primary of {region}"),
        )
    says = "the server is read-only (default_transaction_read_only = on)"
    return Cause(
        "read_only",
        f"{says}: {text}" if text else says,
        Remedy(
            commands=(
                commands.psql(region, "ALTER SYSTEM RESET default_transaction_read_only"),
                commands.psql(region, "SELECT pg_reload_conf()"),
            )
        ),
    )


def _missing_columns(view: StreamView) -> str:
    """What the provider offers and the receiver has not, tables and columns, as a list for people."""
    if not isinstance(view.provider, Reading):
        return ""
    here, there = view.receiver.columns, view.provider.columns
    missing = [table for table in view.provider.replicated if table not in here]
    missing += [
        f"{table}.{column}"
        for table in view.provider.replicated
        for column in there.get(table, ())
        if table in here and column not in here[table]
    ]
    return ", ".join(missing)


def _mend_structure(view: StreamView) -> Remedy:
    """Paused meanwhile: a guard that does not know a new column yet would apply the change without it."""
    region = view.receiver.region
    siblings = [s.name for s in view.siblings]
    return Remedy(
        commands=(
            commands.pause(region, view.name, siblings),
            f"migratectl check {options(_pair(view))} --fix-sql fix.sql --fix {shlex.quote(region)} --apply",
            commands.init(region, view.receiver.standing.mode),
            _resume(view),
        )
    )
