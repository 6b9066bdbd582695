"""A disk that hangs keeps its own threads, and no more calls than those wait for it."""

import threading

import pytest

from fetchml.files import shared_disk
from fetchml.files.shared_disk import SharedDisk
from tests.support.waiting import until_true


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
            with pytest.raises(TimeoutError, match="shared disk"):
                await disk(hang)
        assert len(calls) == 2, "as many as there are threads"
    finally:
        answers.set()
    monkeypatch.setattr(shared_disk, "LIMIT_SECONDS", 30.0)
    await until_true(lambda: disk.answers)
    assert await disk(lambda: 7) == 7


async def test_errors_of_the_disk_are_passed_on() -> None:
    def fail() -> None:
        raise FileNotFoundError("x")

    with pytest.raises(FileNotFoundError):
        await SharedDisk()(fail)
