"""The dashboard as an application: its pages, and how what goes wrong is shown."""

from __future__ import annotations

from pathlib import Path

import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from accountdb.errors import AccountdbError, UsageError
from accountdb.pg.connect import told
from accountdb.web import inbox, overview, signing
from accountdb.web.deadline import TooLateError
from accountdb.web.gate import Gate
from accountdb.web.rendering import page
from accountdb.web.site import Site, site_of, visit_of


def application(site: Site) -> ASGIApp:
    """The dashboard of ``site``."""
    app = Starlette(
        routes=[
            Route("/", overview.overview),
            Route("/lag.json", overview.lag),
            Route("/conflicts", inbox.overview),
            Route("/conflicts/{id}", inbox.one),
            Route("/conflicts/{id}/plan", inbox.plan, methods=["POST"]),
            Route("/conflicts/{id}/resolve", inbox.resolve, methods=["POST"]),
            Route("/login", signing.login, methods=["GET", "POST"]),
            Route("/logout", signing.logout, methods=["POST"]),
            Route("/set", signing.settings),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        exception_handlers={
            HTTPException: _http,
            AccountdbError: _failed,
            psycopg.Error: _failed,
            TooLateError: _late,
        },
    )
    app.state.site = site
    return Gate(app, site)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = visit_of(request).words
    text = words("error.missing") if error.status_code == 404 else error.detail
    return page(request, "error.html", status=error.status_code, text=text, hint="")


async def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, psycopg.Error):
        error = told(error, *site_of(request).dsns.values())
    assert isinstance(error, AccountdbError)
    status = 404 if isinstance(error, UsageError) else 503
    return page(request, "error.html", status=status, text=error.message, hint=error.hint or "")


async def _late(request: Request, error: Exception) -> Response:
    key = "error.late" if request.method == "GET" else "error.late.write"
    return page(request, "error.html", status=504, text=visit_of(request).words(key), hint="")
