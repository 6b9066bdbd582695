"""Work in threads whose caller is cancelled."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from fetchml.system.threads import WorkerThreads, run_in_thread
from tests.support.waiting import SECONDS

Work = Callable[[], None]


def in_worker_threads(work: Work) -> Awaitable[None]:
    return WorkerThreads("test", 1).run(lambda _: work())


@pytest.mark.parametrize("run", [run_in_thread, in_worker_threads])
async def test_repeated_cancellation_still_waits_for_the_thread(
    run: Callable[[Work], Awaitable[None]],
) -> None:
    """A client leaves, then the server stops: what is removed next must be written by nobody."""
    begun, may_end, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(2 * SECONDS)
        over.set()
        raise OSError("it failed at last")

    async def wait() -> None:
        await run(work)

    waiting = asyncio.create_task(wait())
    assert await asyncio.to_thread(begun.wait, SECONDS)
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not waiting.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, SECONDS)
    assert over.is_set()
