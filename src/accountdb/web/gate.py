"""The outermost layer: it lets requests in or sends them away, and adds what every answer carries."""

from __future__ import annotations

import asyncio
import sys
import traceback
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accountdb.render import output
from accountdb.web import access, words
from accountdb.web.site import Site, Visit

THEMES = ("light", "dark")
_OPEN = ("/login", "/set", "/static/")


class Gate:
    """An ASGI application around the dashboard's."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = False
        static = scope["path"].startswith("/static/")

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in access.HEADERS:
                    headers[name] = value
                headers["cache-control"] = "no-cache" if static else "no-store"
            await send(message)

        try:
            answer = self._answer(scope)
            await (answer or self._app)(scope, receive, sending)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a page that fails must not say more than that, nor end the server
            # Where it happened, not what it says: that may hold a row.
            last = traceback.extract_tb(error.__traceback__)[-1]
            output.tell(f"error: {type(error).__name__} in {last.name}, line {last.lineno}", style="red")
            if "--debug" in sys.argv:
                output.tell(traceback.format_exc())
            if not started:
                await PlainTextResponse("internal error\n", 500)(scope, receive, sending)

    def _answer(self, scope: Scope) -> Response | None:
        """What is said without asking the application; None where it may be asked."""
        headers = Headers(scope=scope)
        refused = access.refusal(scope["method"], headers, self._site.hosts)
        if refused is not None:
            status, text = refused
            return PlainTextResponse(f"{text}\n", status)
        cookies = access.cookies(headers.get("cookie", ""))
        session = self._site.sessions.find(cookies.get(self._site.cookie))
        language = cookies.get("language", "")
        if language not in words.LANGUAGES:
            language = words.preferred(headers.get("accept-language", ""))
        theme = cookies.get("theme", "")
        scope["visit"] = Visit(
            session, words.words(language), theme if theme in THEMES else "", "x-accountdb-live" in headers
        )
        path: str = scope["path"]
        reading = scope["method"] in ("GET", "HEAD")
        if session is not None or path.startswith(_OPEN) or (reading and self._site.read_open):
            return None
        if not reading or "x-accountdb-live" in headers:
            return PlainTextResponse("sign in first\n", 403)
        return RedirectResponse(f"/login?next={quote(path)}", 303)
