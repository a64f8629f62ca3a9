"""What every page of one dashboard needs: the regions, the sessions, what is known of the regions now."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request

from accountdb.web.access import Session, Sessions
from accountdb.web.watching import Watch

if TYPE_CHECKING:
    from accountdb.web.words import Words


@dataclass(frozen=True)
class Site:
    """One dashboard. ``read_open``: pages are shown without the token; ``read_only``: nothing can be resolved."""

    dsns: Mapping[str, str] = field(repr=False)
    sessions: Sessions = field(repr=False)
    hosts: frozenset[str]
    cookie: str
    watch: Watch
    read_open: bool = False
    read_only: bool = False
    seal: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Signs what a person was shown, so that what is confirmed is that and nothing else."""


@dataclass(frozen=True)
class Visit:
    """Who asks, and how the answer is to look."""

    session: Session | None
    words: Words
    theme: str
    live: bool
    """Asked by the page itself, to renew what it shows."""


def site_of(request: Request) -> Site:
    """The dashboard that a request belongs to."""
    found: Site = request.app.state.site
    return found


def visit_of(request: Request) -> Visit:
    """Who asks."""
    found: Visit = request.scope["visit"]
    return found
