"""No change goes unnoticed, and nobody is woken for nothing."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asyncinotify import Inotify

from fetchml.files import folder_events
from fetchml.files.folder_events import Changes, FolderEvents
from tests.support.waiting import soon

QUEUED_EVENTS = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


@pytest.fixture
async def watch() -> AsyncIterator[FolderEvents]:
    async with FolderEvents() as watch:
        yield watch


async def woken(changes: Changes) -> bool:
    """Whether it was woken by what happened until now: an event of our own comes after it."""
    try:
        await asyncio.wait_for(changes.wait(), 0.1)
    except TimeoutError:
        return False
    return True


async def test_a_file_that_appears(watch: FolderEvents, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere/draft").touch()
    async with watch.subscribe(tmp_path / "folder") as changes:
        (tmp_path / "folder/made").touch()
        await soon(changes.wait())
        while await woken(changes):
            pass
        (tmp_path / "elsewhere/draft").rename(tmp_path / "folder/renamed")
        await soon(changes.wait())


async def test_a_change_before_the_wait(watch: FolderEvents, tmp_path: Path) -> None:
    async with watch.subscribe(tmp_path) as first, watch.subscribe(tmp_path) as second:
        (tmp_path / "made").touch()
        await soon(first.wait())
        await soon(second.wait())


async def test_growth_wakes_only_those_who_asked(watch: FolderEvents, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb", buffering=0) as log:
        async with watch.subscribe(tmp_path) as names:
            async with watch.subscribe(tmp_path, writes=True) as writes:
                log.write(b"x")
                await soon(writes.wait())
                assert not await woken(names)
            log.write(b"x")
            assert not await woken(names)
            (tmp_path / "made").touch()
            await soon(names.wait())


async def test_a_folder_that_goes(watch: FolderEvents, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    async with watch.subscribe(folder) as changes:
        shutil.rmtree(folder)
        await soon(changes.wait())
    folder.mkdir()
    async with watch.subscribe(folder) as changes:
        (folder / "made").touch()
        await soon(changes.wait())


async def test_a_folder_that_is_not_there(watch: FolderEvents, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with watch.subscribe(tmp_path / "missing"):
            pass
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        async with watch.subscribe(tmp_path / "link"):
            pass


async def test_changes_are_seen_without_inotify_watches(
    watch: FolderEvents,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Exhausted:
        def add_watch(self, *_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_events, "_POLL_SECONDS", 0.01)
    with monkeypatch.context() as without:
        without.setattr(watch, "_inotify", Exhausted())
        async with watch.subscribe(tmp_path) as changes, watch.subscribe(tmp_path) as others:
            await soon(changes.wait())
            await soon(changes.wait())
            await soon(others.wait())
    assert caplog.text.count("fs.inotify.max_user_watches") == 1


async def test_lost_events_wake_all_subscribers(watch: FolderEvents, tmp_path: Path) -> None:
    busy, quiet = tmp_path / "busy", tmp_path / "quiet"
    busy.mkdir()
    quiet.mkdir()
    async with watch.subscribe(busy, writes=True), watch.subscribe(quiet) as changes:
        with (busy / "a").open("wb", 0) as first, (busy / "b").open("wb", 0) as second:
            for _ in range(QUEUED_EVENTS // 2 + 1):  # in turns, for the kernel joins equal events
                first.write(b"x")
                second.write(b"x")
        (quiet / "made").touch()
        await soon(changes.wait())


async def test_no_watch_is_left(watch: FolderEvents, tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with watch.subscribe(folder), watch.subscribe(folder, writes=True):
            pass
    async with watch.subscribe(tmp_path) as changes:
        (tmp_path / "made").touch()
        await soon(changes.wait())
    assert watch._folders == {}


async def test_changes_are_seen_without_inotify_instances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Others of this uid have used them up. As soon as there is one, it is taken."""

    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(folder_events, "_POLL_SECONDS", 0.01)
    with monkeypatch.context() as without:
        without.setattr(folder_events, "Inotify", none_left)
        async with FolderEvents() as unused:
            assert unused._inotify is None
        watch = await FolderEvents().__aenter__()
        async with watch.subscribe(tmp_path) as changes:
            await soon(changes.wait())
        with pytest.raises(FileNotFoundError):
            async with watch.subscribe(tmp_path / "missing"):
                pass
        file = tmp_path / "file"
        file.touch()
        with pytest.raises(NotADirectoryError):
            async with watch.subscribe(file):
                pass
    async with watch.subscribe(tmp_path) as changes:
        assert watch._inotify is not None
        (tmp_path / "made").touch()
        await soon(changes.wait())
    await watch.__aexit__(None, None, None)
    assert "fs.inotify.max_user_instances" in caplog.text


def test_processes_that_hold_instances_are_named() -> None:
    with Inotify():
        assert folder_events._instances_of(os.getpid()) >= 1
        assert f"for uid {os.geteuid()}" in folder_events._why_no_instance_is_left()
