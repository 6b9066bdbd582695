"""Processes are attributed to their tasks, and see only their GPUs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.adapters.docker.container_config import container_name
from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.system import processes
from testbed import debian
from testbed.docker_engine import Engine
from testbed.gpu.stand_in import uuid
from tests.support.launcher_bench import Bench
from tests.support.launcher_bench import bench as open_bench
from tests.support.waiting import soon, until_true

VISIBLE = 'echo "$FETCHML_GPU_UUIDS ${CUDA_VISIBLE_DEVICES-unset}"'
ORPHAN = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
print("orphan", os.getpid(), flush=True)
os.execve("/bin/sleep", ["sleep", "60"], {})
"""


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Bench]:
    data_dir = tmp_path / "data"
    async with open_bench(data_dir, "", lambda watch: ProcessLauncher(data_dir, watch)) as bench:
        yield bench


@pytest.fixture
async def contained(
    tmp_path: Path, docker_engine: Engine, python_image: str
) -> AsyncIterator[Bench]:
    data_dir = tmp_path / "data"

    def make(_: object) -> DockerLauncher:
        return DockerLauncher(data_dir, host=docker_engine.host, network="none")

    async with open_bench(data_dir, python_image, make) as bench:
        yield bench


@pytest.mark.parametrize(
    ("gpu_ids", "seen"),
    [
        ((), " "),
        ((uuid(1),), f"{uuid(1)} {uuid(1)}"),
        ((uuid(3), "MIG-00000002"), f"{uuid(3)},MIG-00000002 {uuid(3)},MIG-00000002"),
        (("slot-0",), "slot-0 unset"),
    ],
)
async def test_process_task_gets_the_gpu_variables(
    plain: Bench, gpu_ids: tuple[str, ...], seen: str
) -> None:
    launcher = await plain.open()
    run = plain.run("sh", "-c", VISIBLE, gpu_ids=gpu_ids)
    folder = await plain.start(launcher, run)
    await soon(launcher.wait(run))
    assert folder.tail().decode() == f"{seen}\n"


async def test_process_task_cannot_override_gpu_variables(plain: Bench) -> None:
    launcher = await plain.open()
    greedy = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "FETCHML_GPU_UUIDS": "all"}
    run = plain.run("sh", "-c", VISIBLE, gpu_ids=(uuid(1),), env=greedy)
    folder = await plain.start(launcher, run)
    await soon(launcher.wait(run))
    assert folder.tail().decode() == f"{uuid(1)} {uuid(1)}\n"


async def test_detached_process_is_attributed_to_its_task(plain: Bench) -> None:
    """It has left its session and its parents, and cut its environment."""
    launcher = await plain.open()
    run = plain.run("sh", "-c", f"'{sys.executable}' -c '{ORPHAN}'; echo done; sleep 60")
    folder = await plain.start(launcher, run)
    await plain.until_log(run, b"done")
    await plain.until_log(run, b"orphan")
    orphan = int(folder.tail().split()[folder.tail().split().index(b"orphan") + 1])
    await until_true(lambda: processes.name(orphan) == "sleep")
    assert processes.environment(orphan) in ([], [""])
    assert launcher.owner_of(orphan) == run.task_id
    await launcher.kill(run)
    await soon(launcher.wait(run))
    assert launcher.owner_of(orphan) is None


async def test_foreign_processes_have_no_task(
    plain: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = await plain.open()
    assert launcher.owner_of(os.getpid()) is None
    assert launcher.owner_of(1) is None
    assert launcher.owner_of(1 << 22) is None
    forged = {"FETCHML_WORKSPACE": f"{plain.data_dir}/tasks/some-task/attempts/1/workspace"}
    with subprocess.Popen(  # noqa: ASYNC220
        ["cat"], env=forged, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as forger:
        assert forger.stdin is not None
        assert forger.stdout is not None
        forger.stdin.write(b"a")
        forger.stdin.flush()
        forger.stdout.read(1)  # before that the kernel may not show its environment yet
        assert launcher.owner_of(forger.pid) == "some-task"
        monkeypatch.setattr(processes, "owner", lambda _: 4_000_000)
        assert launcher.owner_of(forger.pid) is None, "another user can't pretend"


async def test_container_processes_are_attributed_to_their_task(
    contained: Bench, docker_engine: Engine
) -> None:
    launcher, later = await contained.open(), await contained.open()
    run = contained.run("sh", "-c", "sleep 60 & echo ready; sleep 60")
    await contained.start(launcher, run)
    await contained.until_log(run, b"ready")
    container = docker_engine.client.containers.get(container_name(run.task_id, run.attempt))
    debian.install("procps")  # the engine asks the machine's own `ps`
    pids = [int(row[1]) for row in container.top()["Processes"]]
    assert len(pids) >= 3
    assert {launcher.owner_of(pid) for pid in pids} == {run.task_id}
    assert launcher.owner_of(os.getpid()) is None

    # A later server learns it where it adopts the task.
    waiting = asyncio.create_task(later.wait(run))
    await until_true(lambda: later.owner_of(pids[0]) is not None)
    assert later.owner_of(pids[0]) == run.task_id
    await launcher.kill(run)
    await soon(waiting)
    await launcher.remove(run)
    assert launcher.owner_of(pids[0]) is None


async def test_foreign_container_has_no_task(contained: Bench, docker_engine: Engine) -> None:
    launcher = await contained.open()
    stranger = docker_engine.client.containers.run(
        contained.image, ["sleep", "60"], detach=True, network_mode="none", stop_signal="SIGKILL"
    )
    try:
        stranger.reload()
        pid = stranger.attrs["State"]["Pid"]
        assert str(stranger.id) in processes.cgroups(pid)
        assert launcher.owner_of(pid) is None
    finally:
        stranger.remove(force=True)
