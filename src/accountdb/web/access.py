"""Who may see and who may write: the token, the sessions, and what keeps other sites' pages out.

- Host: only the names that this server is known by are answered, so that no name that an attacker's DNS turns to
  this address becomes an origin that may read.
- Every write comes from a page of this server (Origin, Sec-Fetch-Site), with its session's own form token.
- The session's cookie is HttpOnly and SameSite=Strict, and names nothing: what it stands for is kept here.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from accountdb.errors import UsageError

HEADERS = (
    ("content-security-policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
     "object-src 'none'"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    # same-origin, not no-referrer: that would take the Origin out of our own forms.
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)  # fmt: skip
_SHORTEST_TOKEN = 16
_IDLE_S = 12 * 3600
_MOST_SESSIONS = 200
_MOST_INTENDED = 20


@dataclass
class Session:
    """One person who gave the token. ``messages`` are shown once, on the next page; ``intended`` is to be confirmed."""

    form_token: str
    used_at: float
    messages: list[tuple[str, str]] = field(default_factory=list)
    intended: dict[str, tuple[str, Any]] = field(default_factory=dict, repr=False)

    def intend(self, mark: str, what: tuple[str, Any]) -> None:
        """Keep what was planned; of many the oldest is forgotten."""
        self.intended.pop(mark, None)
        self.intended[mark] = what
        while len(self.intended) > _MOST_INTENDED:
            del self.intended[next(iter(self.intended))]


class Sessions:
    """The token, and who gave it. It lives as long as the program: a restart asks again."""

    def __init__(self, token: str) -> None:
        self._token = sha256(token.encode()).digest()
        self._sessions: dict[bytes, Session] = {}
        self._lock = threading.Lock()

    def open(self, token: str) -> str | None:
        """A new session's cookie, None where the token is wrong."""
        if not compare_digest(sha256(token.strip().encode()).digest(), self._token):
            return None
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            self._forget_idle()
            self._sessions[_hashed(cookie)] = Session(secrets.token_urlsafe(32), time.monotonic())
        return cookie

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie."""
        if not cookie:
            return None
        with self._lock:
            found = self._sessions.get(_hashed(cookie))
            if found is None or time.monotonic() - found.used_at > _IDLE_S:
                return None
            found.used_at = time.monotonic()
            return found

    def close(self, cookie: str | None) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_hashed(cookie or ""), None)

    def _forget_idle(self) -> None:
        newest = sorted(self._sessions.items(), key=lambda item: item[1].used_at, reverse=True)
        limit = time.monotonic() - _IDLE_S
        self._sessions = {key: one for key, one in newest[: _MOST_SESSIONS - 1] if one.used_at > limit}


def _hashed(cookie: str) -> bytes:
    return sha256(cookie.encode()).digest()


def cookie_name(port: int) -> str:
    """A browser tells no ports apart: two dashboards on one machine need two names."""
    return f"accountdb_session_{port}"


def hosts(listening: str, port: int, more: Iterable[str]) -> frozenset[str]:
    """The values of the header Host that are answered: the address itself, this machine's names, and ``more``."""
    own = {listening, *(f"{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]"))}
    return frozenset(name.lower() for name in (*own, *more))


def refusal(method: str, headers: Mapping[str, str], allowed: frozenset[str]) -> tuple[int, str] | None:
    """Why a request is not answered, as status and text; None where it may come in. Pure."""
    host = headers.get("host", "").lower()
    if host not in allowed:
        return 421, "this server is not known by that name: see --host"
    if method in ("GET", "HEAD"):
        return None
    if method != "POST":
        return 405, "GET and POST only"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host:
        return 403, "the request comes from another site's page"
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return 403, "the request comes from another site's page"
    return None


def cookies(header: str) -> dict[str, str]:
    """The cookies of a request; none where they cannot be read."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(header)
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}


def made_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def token_in(path: Path) -> str:
    """The token that ``path`` holds; the file is made, with a new token, where it is not there.

    Raises UsageError where others may read it, or where it holds none.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_token(path)
    except OSError as error:
        raise UsageError(f"--token-file {path}: {error.strerror}") from None
    token = made_token()
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    return token


def _read_token(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4096).strip()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--token-file {path}: {getattr(error, 'strerror', None) or 'is not text'}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"--token-file {path} may be read by others", hint=f"chmod 600 {path}")
    if len(text) < _SHORTEST_TOKEN or not text.isprintable():
        raise UsageError(
            f"--token-file {path} holds no token of {_SHORTEST_TOKEN} or more characters on one line",
            hint="remove the file, and a new one is made",
        )
    return text
