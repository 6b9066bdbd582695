"""A disk that hangs keeps its own threads, and no more calls than those wait for it."""

import asyncio
import threading

import pytest

from fetchml.files import shared_disk
from fetchml.files.shared_disk import SharedDisk
from tests.support.waiting import soon, until_true


async def test_disk_that_hangs_is_left_alone_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_disk, "THREADS", 2)
    monkeypatch.setattr(shared_disk, "LIMIT_SECONDS", 0.05)
    disk, answers, calls = SharedDisk(), threading.Event(), []

    def hang() -> None:
        calls.append(1)
        answers.wait()

    try:
        for _ in range(5):
            with pytest.raises(TimeoutError, match="no response from the shared folder"):
                await disk(hang)
        assert len(calls) == 2, "as many as there are threads"
    finally:
        answers.set()
    monkeypatch.setattr(shared_disk, "LIMIT_SECONDS", 30.0)
    await until_true(lambda: disk.answers)
    assert await disk(lambda: 7) == 7


async def test_calls_whose_callers_have_left_count_as_stuck_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_disk, "THREADS", 1)
    monkeypatch.setattr(shared_disk, "LIMIT_SECONDS", 0.1)
    disk, answers, begun = SharedDisk(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        answers.wait()

    try:
        call = asyncio.create_task(disk(hang))
        await soon(asyncio.to_thread(begun.wait))
        call.cancel()
        await until_true(lambda: not disk.answers)
    finally:
        answers.set()
    await until_true(lambda: disk.answers)


async def test_result_that_comes_too_late_is_freed_in_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To free an open file closes it, and a disk that hangs would keep the event loop."""
    monkeypatch.setattr(shared_disk, "LIMIT_SECONDS", 0.05)
    disk, answers, freed_in = SharedDisk(), threading.Event(), list[int]()

    class Result:
        def __del__(self) -> None:
            freed_in.append(threading.get_ident())

    def late() -> Result:
        answers.wait()
        return Result()

    try:
        with pytest.raises(TimeoutError):
            await disk(late)
    finally:
        answers.set()
    await until_true(lambda: freed_in)
    assert threading.get_ident() not in freed_in


async def test_errors_of_the_disk_are_passed_on() -> None:
    def fail() -> None:
        raise FileNotFoundError("x")

    with pytest.raises(FileNotFoundError):
        await SharedDisk()(fail)


async def test_fast_disk_needs_one_thread_and_slow_one_gets_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_disk, "GROWTH_SECONDS", 30.0)
    disk = SharedDisk()
    threads = await asyncio.gather(*(disk(threading.get_ident) for _ in range(200)))
    assert len(set(threads)) == 1
    monkeypatch.setattr(shared_disk, "GROWTH_SECONDS", 0.001)
    disk = SharedDisk()
    together = threading.Barrier(3)
    # Each waits for the others.
    await soon(asyncio.gather(*(disk(together.wait) for _ in range(3))))
    assert disk.answers


async def test_call_that_fails_with_a_timeout_of_its_own_keeps_no_thread() -> None:
    disk = SharedDisk()

    def fail() -> None:
        raise TimeoutError("of the disk")

    with pytest.raises(TimeoutError):
        await disk(fail)
    assert disk.answers


async def test_call_that_is_given_up_while_it_waits_is_not_made() -> None:
    disk, go, calls = SharedDisk(), threading.Event(), []
    first = asyncio.create_task(disk(go.wait))
    await asyncio.sleep(0)
    second = asyncio.create_task(disk(lambda: calls.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    go.set()
    await soon(first)
    await soon(disk(lambda: None))
    assert not calls
