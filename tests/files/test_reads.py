"""Reads of a disk that hangs hold up nothing but themselves."""

import asyncio
import errno
import io
import os
import threading
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fetchml.engine.logs import LogThreads
from fetchml.errors import Unavailable
from fetchml.files import reads, shared_disk, task_files
from fetchml.files.reads import FileReads, OpenedFile, SharedDiskReads
from fetchml.files.task_files import TaskFiles
from fetchml.views import OutputFile
from tests.support.waiting import soon, until, until_true

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
    return OpenedFile(file, 4, "etag", SharedDiskReads())


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


@pytest.mark.parametrize("kind", [FileReads, SharedDiskReads])
async def test_pieces_of_a_file(kind: type[FileReads]) -> None:
    reads = kind()
    opened = OpenedFile(io.BytesIO(b"0123456789"), 10, "etag", reads)
    assert [piece async for piece in opened.pieces(2, 5)] == [b"23456"]
    with pytest.raises(EOFError):
        _ = [piece async for piece in opened.pieces(8, 5)]
    missing = partial(open, "/none/of/this")
    with pytest.raises(FileNotFoundError):
        await reads(missing)


class SharedFolder:
    """The files of tasks on a disk that hangs until `answers` is set: at the first access, or
    within a list of outputs and a search in a log."""

    def __init__(self, tasks_dir: Path) -> None:
        self.answers = threading.Event()
        self.files = TaskFiles(tasks_dir, SharedDiskReads())
        self.logs = LogThreads(self.files.reads)
        self.begun = 0

    def hang(self, *_: object) -> list[OutputFile]:
        self.begun += 1
        self.answers.wait()
        return []

    def all_reads(self, user: str) -> list[Coroutine[Any, Any, object]]:
        return [
            self.files.list_outputs("id", user),
            self.files.checkpoint_saved_at("id"),
            self.logs.run(user, self.files.attempt("id", 1), self.hang),
        ]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedFolder]:
    monkeypatch.setattr(shared_disk, "LIMIT_SECONDS", 0.2)
    monkeypatch.setattr(reads, "LONG_SECONDS", 0.2)
    folder = SharedFolder(tmp_path)
    yield folder
    folder.answers.set()


async def test_long_reads_of_a_disk_that_hangs_end_in_time_and_go_on_afterwards(
    shared: SharedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_files, "_walk", shared.hang)
    monkeypatch.setattr(task_files, "newest_change", shared.hang)
    asked = [each for user in ("ada", "ada", "bob", "eve") for each in shared.all_reads(user)]
    results = await soon(asyncio.gather(*asked, return_exceptions=True))
    assert [type(each) for each in results] == [Unavailable, type(None), Unavailable] * 4
    assert shared.begun > 0
    assert await soon(asyncio.to_thread(lambda: "other work")) == "other work"
    shared.answers.set()

    async def answers() -> bool:
        found = await asyncio.gather(*shared.all_reads("ada"), return_exceptions=True)
        return found == [[], [], []]

    assert await until(answers)


async def test_disk_that_hangs_at_the_first_access_gets_no_thread_of_long_reads(
    shared: SharedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "lexists", shared.hang)
    results = await soon(asyncio.gather(*shared.all_reads("ada"), return_exceptions=True))
    assert [type(each) for each in results] == [Unavailable, type(None), Unavailable]
    assert shared.begun == 3, "the first accesses only"


async def test_errors_of_the_disk_in_a_list_are_no_missing_outputs(
    shared: SharedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[OutputFile]:
        raise OSError(errno.ENOTCONN, "broken off")

    monkeypatch.setattr(task_files, "_walk", fail)
    with pytest.raises(Unavailable):
        await shared.files.list_outputs("id", "ada")
