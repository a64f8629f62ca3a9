"""Loopback ports that stay ours."""

from __future__ import annotations

import socket

from accountdb.lab.model import HOST


def reserve() -> socket.socket:
    """A free loopback port, held: bound, not listening.

    A server can listen on it all the same (both sides set SO_REUSEADDR), but no other process is
    given it, not even while the server is down. Without the hold, a client that tries a stopped
    server's port again and again can be given that very port for its own end and meet itself.
    """
    return _bound(0)


def listener(port: int, backlog: int) -> socket.socket:
    """A socket that listens on a port that this process holds."""
    listening = _bound(port)
    listening.setblocking(False)
    listening.listen(backlog)
    return listening


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound
