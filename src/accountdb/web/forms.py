"""What a person sent: a small form, with the token of the session."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from hmac import compare_digest
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from accountdb.web.access import Session
from accountdb.web.site import site_of, visit_of

_LARGEST = 64 * 1024
_WITHIN_S = 10


async def form(request: Request) -> Mapping[str, str]:
    """The fields, without any check of who sent them. HTTPException for what is no small form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "a form is wanted")
    body = b""
    try:
        async with asyncio.timeout(_WITHIN_S):
            async for piece in request.stream():
                body += piece
                if len(body) > _LARGEST:
                    raise HTTPException(413, "the form is too large")
    except TimeoutError:
        raise HTTPException(408, "the form did not come") from None
    try:
        text = body.decode()
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50))
    except (UnicodeError, ValueError):
        raise HTTPException(400, "the form cannot be read") from None


async def signed_form(request: Request, *, writes: bool = True) -> tuple[Session, Mapping[str, str]]:
    """The session and the fields of a form that writes. HTTPException where it is not of this session's page."""
    session = visit_of(request).session
    if session is None:
        raise HTTPException(403, "sign in first")
    if writes and site_of(request).read_only:
        raise HTTPException(403, "this dashboard only shows: --read-only")
    found = await form(request)
    if not compare_digest(found.get("form_token", "").encode(), session.form_token.encode()):
        raise HTTPException(403, "the form is not of this session: open the page again")
    return session, found
