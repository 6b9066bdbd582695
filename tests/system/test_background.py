"""Coroutines that outlive their callers, and repeated work."""

import asyncio

import pytest

from fetchml.system.background import BackgroundWork, every


async def test_work_goes_on_when_its_caller_is_cancelled() -> None:
    background = BackgroundWork()
    begun, go_on = asyncio.Event(), asyncio.Event()
    done = list[str]()

    async def work() -> str:
        begun.set()
        await go_on.wait()
        done.append("done")
        return "result"

    caller = asyncio.create_task(background.run_to_completion(work()))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == []
    go_on.set()
    await background.wait()
    assert done == ["done"]
    assert await background.run_to_completion(work()) == "result"


async def test_the_caller_gets_the_error_of_the_work() -> None:
    async def fail() -> None:
        raise OSError("the disk fails")

    background = BackgroundWork()
    with pytest.raises(OSError, match="the disk fails"):
        await background.run_to_completion(fail())


async def test_cancel_ends_all_that_runs() -> None:
    background = BackgroundWork()
    task = background.start(asyncio.Event().wait())
    await background.cancel()
    assert task.cancelled()


async def test_repeated_work_goes_on_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    calls = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            enough.set()
        raise OSError("the disk fails")

    async with every(0.001, work, failure="the upkeep failed"):
        await enough.wait()
    assert [record.message for record in caplog.records][:2] == ["the upkeep failed"] * 2


async def test_leaving_cancels_repeated_work_that_runs() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with every(3600, work, failure="the upkeep failed"):
        await begun.wait()
    assert cancelled.is_set()
