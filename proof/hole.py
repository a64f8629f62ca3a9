"""A link that can go silent: every packet is lost in both directions, and neither end is told.

The lab's own link ends in this machine's kernel, which answers for it when it hangs. Here the kernel
drops what comes before it looks at it, so that it is as if the network, or the other machine, had gone.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from contextlib import suppress

from accountdb.lab.model import HOST

_SO_ATTACH_FILTER = 26
_PIECE = 1 << 16


class Hole:
    """A relay on a port of its own in front of a server's port."""

    def __init__(self, target_port: int) -> None:
        """Works from now on until it is closed."""
        self._target_port = target_port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """From now on nothing arrives, not even at the kernel: no byte, no acknowledgement, no end."""
        with self._lock:
            for end in (self._listener, *self._ends):
                _drop_all(end)

    def close(self) -> None:
        """End it: what is still connected sees a reset."""
        with self._lock:
            for end in (self._listener, *self._ends):
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Wakes the thread that waits for it.
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection((HOST, self._target_port))
            except OSError:
                return
            with self._lock:
                self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(from_: socket.socket, to: socket.socket) -> None:
    """Carry bytes until an end has said that there are no more, then say so too."""
    try:
        while data := from_.recv(_PIECE):
            to.sendall(data)
    except OSError:
        pass
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)


def _drop_all(end: socket.socket) -> None:
    """A socket filter of one instruction: keep 0 bytes of each packet. It comes before TCP answers."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(code)))
