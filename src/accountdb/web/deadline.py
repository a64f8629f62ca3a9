"""Work on a database that a page waits for, but never longer than it said.

A region that hangs keeps a thread; it never keeps the server. The threads are daemons: the program ends without them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_MOST_AT_ONCE = 16
_under_way = threading.BoundedSemaphore(_MOST_AT_ONCE)


class TooLateError(Exception):
    """The work did not end in time, or too much of it waits already. Whether it wrote anything is not known."""


async def within(seconds: float, work: Callable[[], T]) -> T:
    """The result of ``work``, done in a thread of its own. Raises what it raises, TooLateError after ``seconds``."""
    if not _under_way.acquire(blocking=False):
        raise TooLateError
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failed: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failed = error
        finally:
            _under_way.release()
        # The server may have ended meanwhile: then nobody waits.
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(tell, result, failed)
            except RuntimeError:
                return

    threading.Thread(target=run, daemon=True).start()
    try:
        return await asyncio.wait_for(answer, seconds)
    except TimeoutError:
        raise TooLateError from None
