"""The conflict inbox: the list, one conflict with both rows, the plan of a resolution, and its confirmation."""

from __future__ import annotations

import hmac
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from accountdb.conflicts import listing, planning, reading, resolving
from accountdb.conflicts.listing import Task
from accountdb.conflicts.model import Action, Plan
from accountdb.conflicts.model import Request as Wish
from accountdb.conflicts.regions import Regions, opened
from accountdb.conflicts.showing import Planned, Showing, planned, showing
from accountdb.errors import AccountdbError, UsageError
from accountdb.pg.dsn import patient
from accountdb.web.access import Session
from accountdb.web.deadline import within
from accountdb.web.forms import signed_form
from accountdb.web.rendering import page
from accountdb.web.site import Site, site_of, visit_of
from accountdb.web.words import Words

T = TypeVar("T")

PAGE = 50
_READ_S = 10
_WRITE_S = 30
_CONNECT_S = 2


@dataclass(frozen=True)
class Shelf:
    """One page of the list. ``tables`` and ``kinds`` are what can be chosen, with how many there are."""

    tasks: tuple[Task, ...]
    number: int
    pages: int
    found: int
    open: int
    tables: tuple[tuple[str, int], ...]
    kinds: tuple[tuple[str, int], ...]
    silent: Mapping[str, str]


def shelf(regions: Regions, *, table: str, kind: str, number: int) -> Shelf:
    """The open conflicts of one table and kind (all where empty), ``PAGE`` on a page."""
    heads = reading.open_heads(regions)
    of_kind = [head for head in heads if not kind or head.kind == kind]
    of_table = [head for head in heads if not table or _table(head.schema, head.table) == table]
    chosen = [head for head in of_kind if not table or _table(head.schema, head.table) == table]
    pages = max(-(-len(chosen) // PAGE), 1)
    number = min(max(number, 1), pages)
    conflicts = reading.of_ids(regions, [head.id for head in chosen[(number - 1) * PAGE : number * PAGE]])
    names = listing.names_for(regions, conflicts)
    return Shelf(
        tuple(listing.task(regions, conflict, names) for conflict in conflicts),
        number,
        pages,
        len(chosen),
        len(heads),
        _counted(_table(head.schema, head.table) for head in of_kind),
        _counted(head.kind for head in of_table),
        dict(regions.silent),
    )


def _counted(names: object) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(names).items()))  # type: ignore[call-overload]


def _table(schema: str, name: str) -> str:
    return name if schema == "public" else f"{schema}.{name}"


async def overview(request: Request) -> Response:
    """The list."""
    asked = request.query_params
    table, kind = asked.get("table", ""), asked.get("kind", "")
    digits = asked.get("page", "1")
    number = int(digits) if digits.isdecimal() and len(digits) < 7 else 1
    found = await _read(request, partial(shelf, table=table, kind=kind, number=number))
    return page(request, "inbox.html", shelf=found, table=table, kind=kind)


async def one(request: Request) -> Response:
    """One conflict: both rows, what hangs on each, the ways to resolve it."""
    return await _one(request)


async def _one(request: Request, *, status: int = 200, error: AccountdbError | None = None) -> Response:
    key = _key(request)
    found = await _read(request, partial(_showing, key=key))
    return page(request, "conflict.html", status=status, found=found, columns=settable(found), error=error)


def _showing(regions: Regions, *, key: str) -> Showing:
    return showing(regions, reading.find(regions, key))


def settable(found: Showing) -> tuple[str, ...]:
    """The columns that can be given a value: those that the conflict is about, else those of its row."""
    way = next((way for way in found.ways if way.action is Action.SET), None)
    if way is None or not way.possible:
        return ()
    return way.columns or tuple(name for name in found.loser or () if name not in planning.NEVER_SET)


async def plan(request: Request) -> Response:
    """What a resolution would write, to be confirmed. Writes nothing."""
    key = _key(request)
    session, fields = await signed_form(request)
    try:
        wish = _wish(fields)
        site = site_of(request)
        found, mark = await _read(request, partial(_planned, site=site, key=key, wish=wish))
    except AccountdbError as error:
        return await _one(request, status=409, error=error)
    session.intend(mark, (key, wish))
    return page(request, "plan.html", found=found, action=wish.action.value, mark=mark, key=key, why=_why)


_WHY = {
    "gets a new value": "why.set",
    "is brought back": "why.back",
    "moves to": "why.moves",
    "becomes one with": "why.joins",
}


def _why(words: Words, text: str) -> str:
    """A step's reason in the page's language."""
    for said, key in _WHY.items():
        if text.startswith(said):
            return words(key, uuid=text.removeprefix(said).strip()[:8])
    return text


def _planned(regions: Regions, *, site: Site, key: str, wish: Wish) -> tuple[Planned, str]:
    agreed = resolving.plan(regions, reading.find(regions, key), wish)
    return planned(regions, agreed, applied=False), sealed(site.seal, agreed)


async def resolve(request: Request) -> Response:
    """Write what was confirmed, and only that."""
    key = _key(request)
    session, fields = await signed_form(request)
    site = site_of(request)
    mark = fields.get("mark", "")
    try:
        wish = _intended(session, mark, key)
        work = partial(_resolved, site=site, key=key, wish=wish, mark=mark)
        found = await within(_WRITE_S, lambda: _with(site.dsns, work))
    except AccountdbError as error:
        return await _one(request, status=409, error=error)
    words = visit_of(request).words
    session.messages.append(("done", words("resolved", id=key[:8], summary=found.summary)))
    for name, reason in found.silent.items():
        session.messages.append(("warn", words("resolved.silent", region=name, reason=reason)))
    # The numbers at the top of the next page are to be those after this.
    site.watch.hasten()
    return RedirectResponse("/conflicts", 303)


def _intended(session: Session, mark: str, key: str) -> Wish:
    """What the plan with this mark was made for. It stays here: a value may be a secret, and goes into no page."""
    known = session.intended.get(mark)
    if known is None or known[0] != key:
        raise AccountdbError("this plan is not known any more; nothing was written", hint="choose again")
    wish: Wish = known[1]
    return wish


def _resolved(regions: Regions, *, site: Site, key: str, wish: Wish, mark: str) -> Planned:
    agreed = resolving.plan(regions, reading.find(regions, key), wish)
    if not hmac.compare_digest(sealed(site.seal, agreed), mark):
        raise AccountdbError("the rows changed after the plan was shown; nothing was written", hint="look at it again")
    resolving.apply(regions, agreed)
    return planned(regions, agreed, applied=True)


def sealed(seal: bytes, agreed: Plan) -> str:
    """A mark of the whole plan. It shows nothing of it, and only this server makes it."""
    text = json.dumps(asdict(agreed), default=str, sort_keys=True)
    return hmac.new(seal, text.encode(), sha256).hexdigest()


def _wish(fields: Mapping[str, str]) -> Wish:
    """What the form asks for. UsageError for what no form of ours sends, or an empty value that was not meant."""
    try:
        action = Action(fields.get("action", ""))
    except ValueError:
        raise UsageError("no way of resolving was chosen") from None
    if action is not Action.SET:
        return Wish(action)
    column = fields.get("column", "")
    if fields.get("null"):
        return Wish(action, ((column, None),))
    if not fields.get("value"):
        raise UsageError(f"no value for {column}", hint="write one, or choose that it is to have none (NULL)")
    return Wish(action, ((column, fields["value"]),))


def _key(request: Request) -> str:
    try:
        return str(UUID(request.path_params["id"]))
    except ValueError:
        raise HTTPException(404) from None


async def _read(request: Request, work: Callable[[Regions], T]) -> T:
    """``work`` on the regions that answered last, so that a dead one is not waited for; on all where none did."""
    site = site_of(request)
    known = site.watch.latest
    answering = {name: dsn for name, dsn in site.dsns.items() if known is None or name not in known.silent}
    silent = {name: reason for name, reason in (known.silent if known else {}).items() if answering}

    def done() -> T:
        return _with(answering or site.dsns, work, silent)

    return await within(_READ_S, done)


def _with(dsns: Mapping[str, str], work: Callable[[Regions], T], silent: Mapping[str, str] | None = None) -> T:
    """``work`` with connections that give up before the page does."""
    limited = {name: patient(dsn, connect_s=_CONNECT_S, statement_s=_READ_S - 2) for name, dsn in dsns.items()}
    with opened(limited) as regions:
        return work(Regions(regions.answering, {**(silent or {}), **regions.silent}, regions.secrets))
