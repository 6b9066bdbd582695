"""Threads for work that users cause."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fetchml.system.threads import UserThreads, until_end
from tests.support.waiting import soon, until_true


class Held:
    """Work that goes on when the test says so."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.go_on = threading.Event()

    def of(self, name: str) -> Callable[[Callable[[], None]], str]:
        def work(check: Callable[[], None]) -> str:
            self.began.append(name)
            self.go_on.wait()
            check()
            return name

        return work


async def test_a_user_takes_one_thread_and_others_go_on() -> None:
    threads, held = UserThreads("test", 2), Held()
    running = [
        asyncio.create_task(threads.run(user, held.of(user))) for user in ("eve", "eve", "bob")
    ]
    await until_true(lambda: sorted(held.began) == ["bob", "eve"])
    held.go_on.set()
    assert await soon(asyncio.gather(*running)) == ["eve", "eve", "bob"]


async def test_work_ends_with_its_caller() -> None:
    threads, held = UserThreads("test", 1), Held()
    running = [asyncio.create_task(threads.run("eve", held.of(name))) for name in ("a", "b")]
    await until_true(lambda: held.began == ["a"])
    for each in running:
        each.cancel()
    held.go_on.set()
    results = await soon(asyncio.gather(*running, return_exceptions=True))
    assert {type(each) for each in results} == {asyncio.CancelledError}
    assert held.began == ["a"]
    assert not threads._turns._locks


async def test_cancelled_call_returns_when_the_work_has_ended() -> None:
    work: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    call = asyncio.create_task(until_end(work))
    await asyncio.sleep(0)
    for _ in range(2):
        call.cancel()
        await asyncio.sleep(0)
        assert not call.done()
    work.set_result(1)
    with pytest.raises(asyncio.CancelledError):
        await soon(call)
