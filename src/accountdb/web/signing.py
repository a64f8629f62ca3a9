"""Signing in and out, and how the pages look to one browser."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from accountdb.web import words
from accountdb.web.forms import form, signed_form
from accountdb.web.gate import THEMES
from accountdb.web.rendering import page
from accountdb.web.site import site_of

_WRONG_S = 1.0
_YEAR_S = 365 * 86400


async def login(request: Request) -> Response:
    """The form that asks for the token, and what it sends."""
    back = _local(request.query_params.get("next", "/"))
    if request.method != "POST":
        return page(request, "login.html", back=back, wrong=False)
    cookie = site_of(request).sessions.open((await form(request)).get("token", ""))
    if cookie is None:
        # Guessing is slow, for whoever does it.
        await asyncio.sleep(_WRONG_S)
        return page(request, "login.html", status=403, back=back, wrong=True)
    answer = RedirectResponse(back, 303)
    answer.set_cookie(site_of(request).cookie, cookie, httponly=True, samesite="strict", secure=_encrypted(request))
    return answer


async def logout(request: Request) -> Response:
    """End the session."""
    await signed_form(request, writes=False)
    site = site_of(request)
    site.sessions.close(request.cookies.get(site.cookie))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(site.cookie)
    return answer


async def settings(request: Request) -> Response:
    """Language and theme of this browser, then back to where it was."""
    answer = RedirectResponse(_local(request.query_params.get("back", "/")), 303)
    for name, allowed in (("language", words.LANGUAGES), ("theme", (*THEMES, ""))):
        wanted = request.query_params.get(name)
        if wanted is not None and wanted in allowed:
            answer.set_cookie(name, wanted, max_age=_YEAR_S, samesite="lax", httponly=True)
    return answer


def _local(path: str) -> str:
    """A path of this server, never another's address."""
    harmless = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if harmless and "\\" not in path else "/"


def _encrypted(request: Request) -> bool:
    """Whether the browser came by TLS, to a proxy before this server."""
    return request.headers.get("origin", "").startswith("https://")
