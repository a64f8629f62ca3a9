"""The link to one region: a TCP proxy that can be cut, be healed, go silent, and be slow.

The other region reaches this one only through it; clients connect to the server itself.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import cast

from accountdb.lab import ports
from accountdb.lab.model import HOST, LinkState

# Bytes that wait out their latency, per connection and direction: above it the sender is held back.
_MAX_IN_FLIGHT = 64 * 1024 * 1024
_BACKLOG = 128


class Link:
    """A proxy on its own loopback port in front of a server's port."""

    def __init__(self, target_port: int) -> None:
        """Cut until it is healed for the first time."""
        self.target_port = target_port
        self.state: LinkState = "cut"
        self.latency_s = 0.0
        self._legs: set[_Leg] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Held while nothing listens on it, so that heal finds it free.
        self._held = ports.reserve()
        self.port: int = self._held.getsockname()[1]
        self._listener: socket.socket | None = None

    @property
    def connections(self) -> int:
        """How many connections are open through the link."""
        return len(self._legs) // 2

    def heal(self) -> None:
        """Let connections and bytes pass."""
        self.state = "up"
        asyncio.get_running_loop().add_reader(self._listening(), self._accept)
        for leg in self._legs:
            leg.wake()

    def cut(self) -> None:
        """Abort every connection with a reset at both ends and refuse new ones."""
        self.state = "cut"
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for leg in list(self._legs):
            leg.abort()
        for task in self._tasks:
            task.cancel()

    def hang(self) -> None:
        """Let connections be and pass no byte: a black hole. New connections open and hang too."""
        self.state = "hang"
        # Who comes now waits in the backlog: open for him, silent.
        asyncio.get_running_loop().remove_reader(self._listening())
        for leg in self._legs:
            leg.wake()

    def close(self) -> None:
        """End of the link: connections are aborted, the port is given back."""
        self.cut()
        self._held.close()

    def _listening(self) -> socket.socket:
        if self._listener is None:
            self._listener = ports.listener(self.port, _BACKLOG)
        return self._listener

    def _accept(self) -> None:
        try:
            incoming, _ = self._listening().accept()
        except OSError:
            return
        incoming.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._join(incoming))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, incoming: socket.socket) -> None:
        """Connect the caller to the server, or reset him when the server does not take him."""
        loop = asyncio.get_running_loop()
        near, far = _Leg(self), _Leg(self)
        near.peer, far.peer = far, near
        try:
            await loop.create_connection(lambda: far, HOST, self.target_port)
            await loop.connect_accepted_socket(lambda: near, incoming)
        except (OSError, asyncio.CancelledError) as error:
            far.abort()
            near.abort()
            if near._transport is None:
                _reset_on_close(incoming)
                incoming.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        self._legs |= {near, far}
        near.wake()
        far.wake()

    def forget(self, leg: _Leg) -> None:
        """A leg has ended."""
        self._legs.discard(leg)


class _Leg(asyncio.Protocol):
    """One end of a connection through the link; what it reads goes to ``peer``."""

    peer: _Leg

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        # (when due, bytes; None for end of stream), in order.
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self._in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._send_buffer_full = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        _reset_on_close(self._transport.get_extra_info("socket"))
        # Nothing is read until both legs stand.
        self._transport.pause_reading()

    def wake(self) -> None:
        """Read on or hold, as the link's state and the peer's buffer ask for."""
        if self._transport is None or self._transport.is_closing():
            return
        full = self.peer._send_buffer_full or self._in_flight > _MAX_IN_FLIGHT
        if self._link.state == "up" and not full:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._forward(data)

    def eof_received(self) -> bool:
        self._forward(None)
        return True  # the other direction stays open

    def _forward(self, item: bytes | None) -> None:
        if not self._link.latency_s and not self._waiting:
            self._deliver(item)
            return
        due = self._loop.time() + self._link.latency_s
        if self._waiting:
            due = max(due, self._waiting[-1][0])  # bytes never overtake each other
        self._waiting.append((due, item))
        self._in_flight += len(item or b"")
        if self._in_flight > _MAX_IN_FLIGHT:
            self.wake()
        self._flush()

    def _flush(self) -> None:
        """Deliver what is due; come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._link.state != "up":
            return
        held_back = self._in_flight > _MAX_IN_FLIGHT
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            item = self._waiting.popleft()[1]
            self._in_flight -= len(item or b"")
            self._deliver(item)
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._flush)
        if held_back and self._in_flight <= _MAX_IN_FLIGHT:
            self.wake()

    def _deliver(self, item: bytes | None) -> None:
        target = self.peer._transport
        if target is None or target.is_closing():
            return
        if item is not None:
            target.write(item)
            return
        self._ended = True
        if self.peer._ended:
            # Both sides have said all they had to say: an orderly end, with what is buffered.
            for leg in (self, self.peer):
                leg._close_in_order()
        else:
            target.write_eof()

    def _close_in_order(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            _reset_on_close(self._transport.get_extra_info("socket"), reset=False)
            self._transport.close()

    def pause_writing(self) -> None:
        self._send_buffer_full = True
        self.peer.wake()

    def resume_writing(self) -> None:
        self._send_buffer_full = False
        self.peer.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._link.forget(self)
        if not (self._ended and self.peer._ended):
            # It broke: the other end sees a break too.
            self.peer.abort()

    def abort(self) -> None:
        """Drop the connection; the far end gets a reset."""
        if self._transport is not None:
            self._transport.abort()


def _reset_on_close(sock: socket.socket, *, reset: bool = True) -> None:
    """Whether closing this socket sends a reset (and drops what is unsent) or an orderly end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", int(reset), 0))
