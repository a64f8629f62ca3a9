"""Talking to a keeper: one JSON line each way, over loopback, with the lab's secret token."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from accountdb import errors
from accountdb.errors import AccountdbError
from accountdb.lab.model import HOST

Handler: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Any]]

_MAX_LINE = 64 * 1024
_READ_TIMEOUT_S = 5
# A server that has to recover from a crash takes its time to start.
REQUEST_TIMEOUT_S = 90


def error_document(error: AccountdbError) -> dict[str, Any]:
    """An error as the other process's end can raise it again."""
    return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}


def error_from(document: Mapping[str, Any]) -> AccountdbError:
    """The error that ``error_document`` wrote."""
    kind: type[AccountdbError] = getattr(errors, str(document.get("kind")), AccountdbError)
    return kind(document.get("message") or "no reason given", hint=document.get("hint"))


async def serve(handler: Handler, token: str) -> asyncio.Server:
    """Listen on a free loopback port and answer requests that carry ``token``."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), _READ_TIMEOUT_S)
            document = await _answered(line, handler, token)
            writer.write(json.dumps(document).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass  # the caller went away, or never asked
        finally:
            writer.close()

    return await asyncio.start_server(answer, HOST, 0, limit=_MAX_LINE)


async def _answered(line: bytes, handler: Handler, token: str) -> dict[str, Any]:
    try:
        request = json.loads(line)
        given = str(request.pop("token"))
        command = str(request.pop("command"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"error": error_document(AccountdbError("the lab's keeper cannot read this request"))}
    if not hmac.compare_digest(given.encode(), token.encode()):
        return {"error": error_document(AccountdbError("the lab's keeper refused: wrong token"))}
    try:
        return {"result": await handler(command, request)}
    except AccountdbError as error:
        return {"error": error_document(error)}


def request(port: int, token: str, command: str, **arguments: Any) -> Any:
    """Ask the keeper and return its answer. Raises what the keeper reports, and AccountdbError."""
    try:
        with socket.create_connection((HOST, port), timeout=REQUEST_TIMEOUT_S) as conn:
            conn.sendall(json.dumps({"token": token, "command": command, **arguments}).encode() + b"\n")
            with conn.makefile("rb") as source:
                line = source.readline()
        document = json.loads(line)
    except TimeoutError:
        raise AccountdbError(f"the lab's keeper did not answer {command!r} in {REQUEST_TIMEOUT_S} s") from None
    except (OSError, ValueError):
        raise AccountdbError("the lab's keeper does not answer", hint="migratectl lab down, then lab up") from None
    if "error" in document:
        raise error_from(document["error"])
    return document["result"]
