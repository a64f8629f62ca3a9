"""Serving an application until a signal: the address, the port, the end."""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accountdb.errors import AccountdbError, UsageError

if TYPE_CHECKING:
    import uvicorn

_FORM = "ADDRESS:PORT, 127.0.0.1:8420 for instance, or [::1]:8420"


@dataclass(frozen=True)
class Address:
    """Where a server listens. ``host`` without brackets."""

    host: str
    port: int

    @property
    def text(self) -> str:
        """As a URL writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def address(text: str) -> Address:
    """``--listen`` as an address. Raises UsageError, which names the form."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s/]+)):(\d{1,5})", text)
    if match is None or not 0 <= int(match[3]) <= 65535:
        raise UsageError(f"--listen {text!r} is no address", hint=_FORM)
    return Address(match[1] or match[2], int(match[3]))


def bound(wanted: Address) -> tuple[socket.socket, Address]:
    """A socket that listens, and where: port 0 takes a free one. Raises AccountdbError where it cannot be had."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            wanted.host, wanted.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AccountdbError(f"--listen {wanted.text}: {error.strerror}", hint=_FORM) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(128)
    except OSError as error:
        listening.close()
        hint = "another program has the port: choose one with --listen" if error.errno == 98 else _FORM
        # bind() says what is wrong in strerror, getaddrinfo's order of numbers is not needed.
        raise AccountdbError(f"cannot listen on {wanted.text}: {os.strerror(error.errno or 0)}", hint=hint) from None
    return listening, Address(wanted.host, listening.getsockname()[1])


def serve(app: Any, listening: socket.socket) -> None:
    """Serve ``app`` until SIGTERM or SIGINT, then return at once: what is under way is abandoned."""
    import uvicorn

    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        server_header=False,
        ws="none",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=32 * 1024,
    )
    _server(config).run(sockets=[listening])


def _server(config: uvicorn.Config) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        """Ends at the first signal, and says so by its end alone: uvicorn's own would kill the program by it."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            def asked(number: int, frame: object) -> None:
                self.should_exit = True
                self.force_exit = True

            before = {sign: signal.signal(sign, asked) for sign in (signal.SIGTERM, signal.SIGINT)}
            try:
                yield
            finally:
                for sign, handler in before.items():
                    signal.signal(sign, handler)

    return Server(config)
