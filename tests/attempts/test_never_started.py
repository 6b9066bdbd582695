"""Attempts whose command never ran: on a full disk, or since nobody wanted them."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from fetchml import shim
from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.attempts import runner
from fetchml.attempts.runner import AttemptRunner
from fetchml.core.model import Status
from fetchml.files import attempt_folder
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import AttemptExit, LaunchSpec, PrepareError
from fetchml.shim import NO_ROOM
from testbed.small_disk import mounted_disk
from tests.support.engine_box import ALICE, Box, ended
from tests.support.waiting import soon, until, until_true

FULL_AT_FIRST = """#!/bin/sh
[ $# -gt 1 ] || exit 64
until [ -e "$2/open" ]; do sleep 0.01; done
if [ $(ls {tries} | wc -l) -lt {full} ]; then mktemp {tries}/XXXXXX; exit {no_room}; fi
exec {shim} "$@"
"""


def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> Path:
    """A shim that finds the disk full at its first tries; a folder with a file for each."""
    tries, real = tmp_path / "tries", Path(shutil.copy(shim.path(), tmp_path / "real-shim"))
    tries.mkdir()
    script = tmp_path / "shim"
    script.write_text(FULL_AT_FIRST.format(tries=tries, full=times, no_room=NO_ROOM, shim=real))
    script.chmod(0o755)
    monkeypatch.setattr(shim, "path", lambda: script)
    monkeypatch.setattr(runner, "AGAIN_SECONDS", 0.01)
    return tries


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "AGAIN_SECONDS", 0.01)


async def test_a_full_disk_costs_no_retry(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = full_disk(tmp_path, monkeypatch, 3)
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, {"job_name": "a", "command": ["true"]})
        done = await ended(engine, task.id)
    assert (done.status, done.attempt) == (Status.COMPLETED, 1)
    assert (done.retry_count, done.infra_retries) == (0, 0)
    assert len(list(tries.iterdir())) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
async def test_command_waits_while_the_disk_of_the_tasks_is_full(each_box: Box) -> None:
    """Its shim starts, as a process or in a container, and finds no room for its claim."""
    with mounted_disk(each_box.data_dir / "tasks", "8m") as disk:
        async with each_box.engine() as engine:
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
            task = await engine.submissions.create_task(
                ALICE, {"job_name": "a", "command": ["echo", "ran"]}
            )
            look = partial(engine.tasks.get, ALICE, task.id)
            waiting = await until(look, lambda found: "disk is full" in str(found.progress))
            assert (waiting.status, waiting.attempt) == (Status.PREPARING, 1)
            assert not list(disk.glob("*/attempts/*/run/claim*"))
            (disk / "filler").unlink()
            done = await ended(engine, task.id)
            assert (done.status, done.attempt) == (Status.COMPLETED, 1)
            assert (done.retry_count, done.infra_retries) == (0, 0)
            assert await engine.logs.tail(done) == "ran\n"


async def test_a_full_disk_is_named_when_it_stays_full(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = full_disk(tmp_path, monkeypatch, 1 + runner.MAX_PREPARED_AGAIN)
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, {"job_name": "a", "command": ["true"]})
        done = await ended(engine, task.id)
    # Its second attempt, a retry that the box owes it.
    assert (done.status, done.infra_retries) == (Status.COMPLETED, 1)
    assert "the disk is full" in str(done.earlier_attempts[0].error)
    assert len(list(tries.iterdir())) == 1 + runner.MAX_PREPARED_AGAIN


async def test_it_waits_for_room(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_disk(tmp_path, monkeypatch, 1)
    looked, room = list[int](), asyncio.Event()

    def has_room(_: AttemptFolder) -> bool:
        looked.append(1)
        return room.is_set()

    monkeypatch.setattr(AttemptFolder, "has_room", has_room)
    async with box.engine() as engine:
        task = await engine.submissions.create_task(ALICE, {"job_name": "a", "command": ["true"]})
        await until_true(lambda: len(looked) >= 5)
        waiting = await engine.tasks.get(ALICE, task.id)
        assert "the disk is full" in str(waiting.progress)
        room.set()
        assert (await ended(engine, task.id)).status is Status.COMPLETED


def test_free_space_counts_blocks_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = AttemptFolder(tmp_path)
    assert folder.has_room()
    monkeypatch.setattr(attempt_folder, "_START_BYTES", 1 << 62)
    assert not folder.has_room()


def test_discarded_attempt_keeps_only_its_records(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path / "attempt")
    folder.create(os.geteuid(), os.getegid())
    folder.workspace_draft.mkdir()
    assert folder.revoke()
    folder.discard()
    folder.discard()
    assert [each.name for each in folder.path.iterdir()] == ["run"]


async def test_a_request_under_way_leaves_no_folders(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend makes the folders while the task is cancelled, and goes on when it is."""
    begun, discarded = asyncio.Event(), asyncio.Event()
    making: list[asyncio.Task[None]] = []

    async with box.engine() as engine:
        launcher = box.parts.attempts._launcher
        drop = AttemptFolder.discard
        loop = asyncio.get_running_loop()

        def discard(folder: AttemptFolder) -> None:
            drop(folder)
            loop.call_soon_threadsafe(discarded.set)

        async def prepare(run: LaunchSpec, progress: Callable[[str], None]) -> None:
            async def make() -> None:
                await discarded.wait()
                AttemptFolder(run.folder).create(os.geteuid(), os.getegid())

            making.append(asyncio.create_task(make()))
            begun.set()
            await asyncio.shield(making[0])
            raise PrepareError("unwanted", permanent=True)

        def settled(then: Callable[[LaunchSpec], Awaitable[AttemptExit | None]]) -> object:
            async def settle(run: LaunchSpec) -> AttemptExit | None:
                await making[0]
                return await then(run)

            return settle

        monkeypatch.setattr(AttemptFolder, "discard", discard)
        monkeypatch.setattr(launcher, "prepare", prepare)
        monkeypatch.setattr(launcher, "wait", settled(launcher.wait))
        task = await engine.submissions.create_task(ALICE, {"job_name": "a", "command": ["true"]})
        await begun.wait()
        await engine.changes.cancel(ALICE, task.id)
        await ended(engine, task.id)
        folder = box.data_dir / f"tasks/{task.id}/attempts/1"
        await until_true(lambda: {each.name for each in folder.iterdir()} == {"run"})


async def test_prestaged_attempt_whose_shim_ends_as_its_gate_opens_is_prepared_again(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not run the command yet, so it is neither lost nor retried."""
    killed, opens = asyncio.Event(), asyncio.Event()
    open_gate = AttemptRunner.open_gate

    async with box.engine(max_running=1, prestage=True) as engine:
        launcher = box.parts.attempts._launcher
        assert isinstance(launcher, ProcessLauncher)
        wait = launcher.wait

        async def kill_and_wait(launch: LaunchSpec) -> AttemptExit:
            if launch.task_id == first.id or killed.is_set():
                return await wait(launch)
            launcher._children[launch.folder].kill()
            end = await wait(launch)
            killed.set()
            await opens.wait()
            return end

        def tell_and_open(attempt: AttemptRunner) -> None:
            opens.set()
            open_gate(attempt)

        monkeypatch.setattr(launcher, "wait", kill_and_wait)
        monkeypatch.setattr(AttemptRunner, "open_gate", tell_and_open)
        until_told = f"until [ -e {box.data_dir / 'go'} ]; do sleep 0.01; done"
        first = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "command": ["sh", "-c", until_told]}
        )
        second = await engine.submissions.create_task(
            ALICE, {"job_name": "b", "command": ["echo", "ran"]}
        )
        await soon(killed.wait())
        (box.data_dir / "go").touch()
        done = await ended(engine, second.id)
        assert (done.status, done.attempt) == (Status.COMPLETED, 1)
        assert (done.retry_count, done.infra_retries) == (0, 0)
        assert await engine.logs.tail(done) == "ran\n"
