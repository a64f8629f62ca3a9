"""Data source names: libpq URLs and ``key=value`` strings, and how they are shown.

A DSN may carry a password, so nothing here ever puts libpq's own parse error into a message:
libpq quotes the piece that it could not read, and that piece can be half a password.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from accountdb.errors import UsageError

_FORMS = (
    "use postgresql://user@host:5432/database or 'host=... dbname=...';"
    " in a URL write @ : / # of a password as %40 %3A %2F %23"
)
_SECRET_KEYS = ("password", "sslpassword", "oauth_client_secret")


def parse(dsn: str, *, name: str = "DSN") -> dict[str, Any]:
    """The connection parameters in ``dsn``. ``name`` is how messages call it (``--dsn``).

    Raises UsageError, which never quotes the value.
    """
    text = dsn.strip()
    if not text:
        raise UsageError(f"{name} is empty", hint=_FORMS)
    scheme = re.match(r"^postgres(?:ql)?://", text)
    if scheme is None and "=" not in text:
        raise UsageError(f"{name} is neither a postgresql:// URL nor a key=value string", hint=_FORMS)
    if scheme and _ambiguous(text[scheme.end() :]):
        raise UsageError(f"{name} has a user or password with an unescaped special character", hint=_FORMS)
    try:
        params = dict(conninfo_to_dict(text))
        "".join(str(value) for value in params.values()).encode()
    except (psycopg.ProgrammingError, UnicodeError):
        # "from None": the chained libpq text could show a piece of the password with --debug.
        raise UsageError(f"{name} cannot be read as a connection string", hint=_FORMS) from None
    if "://" in str(params.get("dbname", "")):
        raise UsageError(f"{name} has a whole connection string as its dbname", hint=_FORMS)
    return params


def variable(region: str) -> str:
    """How a hint writes the DSN of a region, for a shell: ``"$CN_DSN"``. It shows no password."""
    name = re.sub("[^A-Z0-9]", "_", region.upper())
    return f'"${name}_DSN"'


def options(regions: Iterable[str]) -> str:
    """How a hint names several regions: ``--cn "$CN_DSN" --global "$GLOBAL_DSN"``, or one ``--node`` for each."""
    names = tuple(regions)
    if set(names) <= {"cn", "global"}:
        return " ".join(f"--{name} {variable(name)}" for name in names)
    return " ".join(f"--node {shlex.quote(name)}={variable(name)}" for name in names)


def _ambiguous(rest: str) -> bool:
    """Whether libpq would split user:password@host elsewhere than the writer meant."""
    before_query, _, query = rest.partition("?")
    if "@" in query:
        return True
    authority = before_query.split("/", 1)[0]
    return before_query.count("@") > 1 or ("@" in before_query and "@" not in authority) or "#" in authority


def secrets(dsn: str) -> set[str]:
    """The secret values in ``dsn``, as written and decoded; empty where it cannot be read."""
    try:
        params = parse(dsn)
    except UsageError:
        return set(re.findall(r"://[^:@/]*:(.+)@", dsn)) | set(re.findall(r"password\s*=\s*'?([^'\s]+)", dsn))
    found = {str(params[key]) for key in _SECRET_KEYS if params.get(key)}
    return found | set(re.findall(r"://[^:@/]*:([^@]+)@", dsn))


def shown(dsn: str) -> str:
    """``dsn`` for people: ``user@host:port/database``, never with a secret."""
    try:
        params = parse(dsn)
    except UsageError:
        return "(unreadable DSN)"
    user = f"{params['user']}@" if params.get("user") else ""
    where = params.get("service") or params.get("host") or params.get("hostaddr") or "local"
    port = f":{params['port']}" if params.get("port") else ""
    return f"{user}{where}{port}/{params.get('dbname') or ''}"


def scrub(text: str, *dsns: str) -> str:
    """``text`` with every secret of ``dsns``, and whatever looks like a DSN's password, masked."""
    for secret in sorted({s for dsn in dsns for s in secrets(dsn)}, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"(postgres(?:ql)?://[^:@/\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"(password\s*=\s*)('(?:\\.|[^'\\])*'|(?:\\.|[^\s\\])+)", r"\1***", text)


def environment(dsn: str) -> dict[str, str]:
    """``dsn`` as libpq's environment variables, for a program whose arguments anybody may see."""
    variables = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    }
    return {variables[key]: str(value) for key, value in parse(dsn).items() if key in variables}


def with_params(dsn: str, **params: str) -> str:
    """``dsn`` as a key=value string with ``params`` set or replaced."""
    return make_conninfo("", **{**parse(dsn), **params})


def patient(dsn: str, *, connect_s: int, statement_s: int) -> str:
    """``dsn`` with limits of time for a page that waits: what the DSN says itself of connecting stays."""
    params = parse(dsn)
    params.setdefault("connect_timeout", str(connect_s))
    params["options"] = f"{params.get('options', '')} -c statement_timeout={statement_s * 1000}".strip()
    return make_conninfo("", **params)
