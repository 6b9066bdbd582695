"""Reads of a disk that hangs hold up nothing but themselves."""

import asyncio
import io
import threading
from functools import partial

import pytest

from fetchml.errors import Unavailable
from fetchml.files import shared_disk
from fetchml.files.reads import FileReads, OpenedFile
from tests.support.waiting import soon, until_true

AT_ONCE = 3 * shared_disk.THREADS


class Hanging(io.BytesIO):
    """A file on a disk that answers when `answers` is set."""

    def __init__(self) -> None:
        super().__init__(b"data")
        self.answers = threading.Event()
        self.is_closed = False

    def read(self, size: int | None = -1, /) -> bytes:
        self.answers.wait()
        return super().read(size)

    def close(self) -> None:
        self.answers.wait()
        self.is_closed = True


@pytest.fixture
def file() -> Hanging:
    return Hanging()


@pytest.fixture
def opened(file: Hanging, monkeypatch: pytest.MonkeyPatch) -> OpenedFile:
    monkeypatch.setattr(shared_disk, "LIMIT_SECONDS", 0.2)
    return OpenedFile(file, 4, "etag", FileReads(on_shared_disk=True))


async def test_reads_of_a_disk_that_hangs_fail_and_leave_other_threads_alone(
    file: Hanging, opened: OpenedFile
) -> None:
    try:
        reads = [opened.read(4) for _ in range(AT_ONCE)]
        results = await soon(asyncio.gather(*reads, return_exceptions=True))
        assert {type(each) for each in results} == {Unavailable}
        assert await soon(asyncio.to_thread(lambda: "other work")) == "other work"
    finally:
        file.answers.set()


async def test_file_is_closed_without_waiting_for_its_disk(
    file: Hanging, opened: OpenedFile
) -> None:
    try:
        with pytest.raises(Unavailable):
            await opened.read(4)
        opened.close()
        assert not file.is_closed
    finally:
        file.answers.set()
    await until_true(lambda: file.is_closed)


@pytest.mark.parametrize("on_shared_disk", [False, True])
async def test_pieces_of_a_file(on_shared_disk: bool) -> None:
    reads = FileReads(on_shared_disk=on_shared_disk)
    opened = OpenedFile(io.BytesIO(b"0123456789"), 10, "etag", reads)
    assert [piece async for piece in opened.pieces(2, 5)] == [b"23456"]
    with pytest.raises(EOFError):
        _ = [piece async for piece in opened.pieces(8, 5)]
    missing = partial(open, "/none/of/this")
    with pytest.raises(FileNotFoundError):
        await reads(missing)
