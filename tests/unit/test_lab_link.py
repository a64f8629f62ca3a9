"""The link and the control endpoint over real sockets, without a database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from accountdb.errors import AccountdbError, Refused, UsageError
from accountdb.lab import control, ports
from accountdb.lab.link import Link

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def with_echo(body: Callable[[Link], Awaitable[None]]) -> None:
    """Run ``body`` with a healed link in front of a server that sends everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        link = Link(server.sockets[0].getsockname()[1])
        link.heal()
        try:
            await asyncio.wait_for(body(link), 20)
        finally:
            link.close()
            server.close()

    asyncio.run(run())


async def connected(link: Link) -> Streams:
    return await asyncio.open_connection("127.0.0.1", link.port)


async def said_back(streams: Streams, data: bytes) -> bytes:
    streams[1].write(data)
    return await streams[0].readexactly(len(data))


async def is_silent(streams: Streams) -> bool:
    try:
        await asyncio.wait_for(streams[0].read(1), 0.2)
    except TimeoutError:
        return True
    return False


def test_bytes_pass_and_the_end_of_a_stream_too() -> None:
    async def body(link: Link) -> None:
        streams = await connected(link)
        data = bytes(range(256)) * 20_000
        assert await said_back(streams, data) == data
        assert link.connections == 1
        streams[1].write(b"last words")
        streams[1].write_eof()
        assert await streams[0].read() == b"last words"
        while link.connections:
            await asyncio.sleep(0.01)

    with_echo(body)


def test_cut_resets_and_refuses_and_heal_restores() -> None:
    async def body(link: Link) -> None:
        streams = await connected(link)
        await said_back(streams, b"x")
        for _ in range(2):
            link.cut()
            assert link.state == "cut"
        with pytest.raises(ConnectionResetError):
            await streams[0].readexactly(1)
        with pytest.raises(ConnectionRefusedError):
            await connected(link)
        for _ in range(2):
            link.heal()
        assert await said_back(await connected(link), b"y") == b"y"

    with_echo(body)


def test_hang_lets_connections_be_and_no_byte_pass() -> None:
    async def body(link: Link) -> None:
        old = await connected(link)
        await said_back(old, b"x")
        link.hang()
        new = await connected(link)
        for streams in (old, new):
            streams[1].write(b"late")
            assert await is_silent(streams)
        link.heal()
        for streams in (old, new):
            assert await streams[0].readexactly(4) == b"late"

    with_echo(body)


def test_cut_after_hang_resets_also_who_waits() -> None:
    async def body(link: Link) -> None:
        old = await connected(link)
        await said_back(old, b"x")
        link.hang()
        new = await connected(link)
        link.cut()
        for streams in (old, new):
            with pytest.raises(ConnectionResetError):
                await streams[0].readexactly(1)
        link.hang()
        late = await connected(link)
        assert await is_silent(late)

    with_echo(body)


def test_latency_delays_in_order_and_leaves_bandwidth() -> None:
    async def body(link: Link) -> None:
        streams = await connected(link)
        await said_back(streams, b"x")
        link.latency_s = 0.15
        start = time.monotonic()
        await said_back(streams, b"x")
        assert time.monotonic() - start >= 0.3
        # Many chunks are on their way at once: the whole takes little more than one round trip.
        data = bytes(range(256)) * 40_000
        start = time.monotonic()
        streams[1].write(data[:5_000_000])
        await asyncio.sleep(0.01)
        link.latency_s = 0
        streams[1].write(data[5_000_000:])
        assert await streams[0].readexactly(len(data)) == data
        assert 0.15 <= time.monotonic() - start < 5

    with_echo(body)


def test_a_reader_that_does_not_read_holds_the_writer_back() -> None:
    async def body(link: Link) -> None:
        streams = await connected(link)
        streams[1].write(b"x" * 60_000_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streams[1].drain(), 0.5)
        assert len(await streams[0].readexactly(60_000_000)) == 60_000_000

    with_echo(body)


def test_a_server_that_is_down_resets_the_caller() -> None:
    async def run() -> None:
        with ports.reserve() as nobody_listens:
            link = Link(nobody_listens.getsockname()[1])
            link.heal()
            streams = await connected(link)
            with pytest.raises(ConnectionResetError):
                await streams[0].readexactly(1)
            link.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_held_port_refuses_and_can_be_listened_on() -> None:
    async def run() -> None:
        with ports.reserve() as held:
            port = held.getsockname()[1]
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            with ports.listener(port, 1):
                await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(run())


def test_control_answers_only_with_the_token() -> None:
    async def handler(command: str, arguments: Mapping[str, Any]) -> Any:
        if command == "refuse":
            raise Refused("no", hint="ask again")
        return {"command": command, **arguments}

    async def run() -> None:
        server = await control.serve(handler, "s3cret")
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(control.request, port, "s3cret", "do", x=1) == {"command": "do", "x": 1}
        with pytest.raises(AccountdbError, match="wrong token"):
            await asyncio.to_thread(control.request, port, "s3cre", "do")
        with pytest.raises(Refused, match="no") as raised:
            await asyncio.to_thread(control.request, port, "s3cret", "refuse")
        assert raised.value.hint == "ask again"
        for junk in (b"\n", b"[]\n", b"GET / HTTP/1.1\r\n", b"x" * 200_000 + b"\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(junk)
            answer = await reader.read()
            assert b"s3cret" not in answer
            writer.close()
        server.close()
        with pytest.raises(AccountdbError, match="does not answer"):
            await asyncio.to_thread(control.request, port, "s3cret", "do")

    asyncio.run(asyncio.wait_for(run(), 20))


def test_errors_keep_their_kind_on_the_way() -> None:
    error = UsageError("so", hint="thus")
    again = control.error_from(control.error_document(error))
    assert (type(again), again.message, again.hint) == (UsageError, "so", "thus")
