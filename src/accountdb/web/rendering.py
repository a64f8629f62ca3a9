"""Making pages: templates, and how values look in them. Everything is escaped."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from accountdb.contract.masking import printable
from accountdb.web import figures
from accountdb.web.site import site_of, visit_of

_LONGEST = 20_000


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("accountdb.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        bytes=figures.bytes_text,
        seconds=figures.seconds_text,
        age=figures.age_text,
        rate=figures.rate_text,
        count=figures.count_text,
        moment=figures.moment,
        value=value_text,
        shown=printable,
    )
    return made


def value_text(value: Any) -> str:
    """A value of a row on one line, as it is: what a browser would hide or turn round is spelt out."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    shown = printable(text)
    if len(shown) > _LONGEST:
        return f"{shown[:_LONGEST]}… (+{len(shown) - _LONGEST})"
    return shown


def page(request: Request, template: str, *, status: int = 200, **facts: Any) -> HTMLResponse:
    """One page. The session's messages are shown once, on a page that a person asked for."""
    visit = visit_of(request)
    site = site_of(request)
    messages: list[tuple[str, str]] = []
    if visit.session is not None and not visit.live:
        messages, visit.session.messages = visit.session.messages, []
    reading = site.watch.latest
    known = {
        "w": visit.words,
        "theme": visit.theme,
        "session": visit.session,
        "messages": messages,
        "may_write": visit.session is not None and not site.read_only,
        "read_only": site.read_only,
        "read_open": site.read_open,
        "path": request.url.path,
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "now": datetime.now(UTC),
        "waiting": reading.waiting if reading else None,
        "healthy": reading.healthy if reading else None,
    }
    text = _environment().get_template(template).render({**known, **facts})
    return HTMLResponse(text, status)
