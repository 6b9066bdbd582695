"""The Docker engine goes away under tasks, and comes back."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from examples.local_image import build_base
from fetchml.adapters.docker.container_config import container_name
from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import AttemptExit
from testbed.docker_engine import PrivateEngine, private_engine
from tests.adapters.launcher_conformance import RUNS_ONCE, UNTIL_TOLD, shell, times_run
from tests.support.launcher_bench import Bench, end_of, silent
from tests.support.launcher_bench import bench as open_bench
from tests.support.waiting import soon

IMAGE = "fetchml-test/python:1"
IGNORES_TERM = "trap '' TERM; " + UNTIL_TOLD


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[PrivateEngine]:
    with private_engine(own_network=True) as engine:
        build_base(engine.client, IMAGE)
        yield engine


@pytest.fixture
def own_docker_engine(shared_engine: PrivateEngine) -> Iterator[PrivateEngine]:
    """One engine for all tests here: each leaves it running and empty."""
    yield shared_engine
    if not shared_engine.answers():  # The test failed.
        shared_engine.start()


@pytest.fixture
async def bench(tmp_path: Path, own_docker_engine: PrivateEngine) -> AsyncIterator[Bench]:
    data_dir = tmp_path / "data"

    def make(_: object) -> DockerLauncher:
        return DockerLauncher(data_dir, host=own_docker_engine.host, network="none")

    async with open_bench(data_dir, IMAGE, make) as bench:
        yield bench


async def test_engine_crashes_under_tasks(bench: Bench, own_docker_engine: PrivateEngine) -> None:
    """One ends while the engine is down, one would go on for long, one waits at the gate."""
    launcher = await bench.open()
    ends_meanwhile, runs_on = shell(bench, UNTIL_TOLD), shell(bench, UNTIL_TOLD)
    for run in (ends_meanwhile, runs_on):
        await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
    at_gate = shell(bench, RUNS_ONCE)
    await launcher.prepare(at_gate, silent)
    waits = [asyncio.create_task(launcher.wait(run)) for run in (ends_meanwhile, runs_on, at_gate)]
    await asyncio.sleep(0)
    for run in (ends_meanwhile, runs_on, at_gate):
        await launcher.prepare(run, silent)  # the waits have asked the engine before this answer

    own_docker_engine.kill()
    (ends_meanwhile.folder / "workspace/go").touch()
    assert await soon(waits[0]) == AttemptExit()  # without the engine
    assert end_of(ends_meanwhile).code == 5

    own_docker_engine.start()
    assert await soon(waits[1]) == AttemptExit()  # the engine, back again, asked it to end
    assert end_of(runs_on).signal == SIGTERM
    gone = await soon(waits[2])
    assert "before the command started" in str(gone.lost)
    await launcher.remove(at_gate)
    await bench.start(launcher, at_gate)
    assert await soon(launcher.wait(at_gate)) == AttemptExit()
    assert times_run(at_gate) == 1
    for run in (ends_meanwhile, runs_on, at_gate):
        await launcher.remove(run)
    assert own_docker_engine.client.containers.list(all=True) == []


async def test_engine_and_server_crash_together(
    bench: Bench, own_docker_engine: PrivateEngine
) -> None:
    launcher = await bench.open()
    ended, cut_off = shell(bench, UNTIL_TOLD), shell(bench, UNTIL_TOLD)
    for run in (ended, cut_off):
        await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
    await launcher.close()
    container = own_docker_engine.client.containers.get(container_name(cut_off.task_id, 1))
    own_docker_engine.kill()
    os.kill(container.attrs["State"]["Pid"], SIGKILL)
    (ended.folder / "workspace/go").touch()
    async with bench.watch.subscribe(ended.folder / "run") as changes:
        while AttemptFolder(ended.folder).end() is None:
            await soon(changes.wait())
    own_docker_engine.start()
    later = await bench.open()
    assert await soon(later.wait(ended)) == AttemptExit()
    assert end_of(ended).code == 5
    gone = await soon(later.wait(cut_off))
    assert gone == AttemptExit(lost="the Docker engine was restarted while the task ran")


async def test_engine_is_stopped_in_good_order(
    bench: Bench, own_docker_engine: PrivateEngine
) -> None:
    """It asks every container to end: a task's answer to that is its true end."""
    launcher = await bench.open()
    obeys = shell(bench, "trap 'exit 7' TERM; " + UNTIL_TOLD)
    stays = shell(bench, IGNORES_TERM, grace_ms=500)
    for run in (obeys, stays):
        await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
    waits = [asyncio.create_task(launcher.wait(run)) for run in (obeys, stays)]
    await asyncio.to_thread(own_docker_engine.stop)
    await asyncio.to_thread(own_docker_engine.start)
    assert [await soon(wait) for wait in waits] == [AttemptExit(), AttemptExit()]
    assert end_of(obeys).code == 7
    assert end_of(stays).signal == SIGKILL


async def test_all_waits_for_an_engine_that_is_away(
    bench: Bench, own_docker_engine: PrivateEngine
) -> None:
    launcher = await bench.open()
    done = shell(bench, "exit 4")
    await bench.start(launcher, done)
    await soon(launcher.wait(done))
    own_docker_engine.kill()
    said: asyncio.Queue[str] = asyncio.Queue()
    run = shell(bench, RUNS_ONCE)
    preparing = asyncio.create_task(launcher.prepare(run, said.put_nowait))
    removing = asyncio.create_task(launcher.remove(done))
    assert await soon(said.get()) == "waiting for the Docker engine"
    assert not removing.done()
    await asyncio.to_thread(own_docker_engine.start)
    await soon(preparing)
    await soon(removing)
    AttemptFolder(run.folder).open_gate()
    assert await soon(launcher.wait(run)) == AttemptExit()
    assert times_run(run) == 1


async def test_availability_is_reported(bench: Bench, own_docker_engine: PrivateEngine) -> None:
    told: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()
    launcher = DockerLauncher(bench.data_dir, host=own_docker_engine.host)
    await launcher.open("instance", lambda *news: told.put_nowait(news))
    assert told.get_nowait()[0]
    own_docker_engine.kill()
    available, sentence = await soon(told.get())
    assert not available
    assert sentence.startswith(f"Cannot reach the Docker engine at {own_docker_engine.host}: ")
    await asyncio.to_thread(own_docker_engine.start)
    while not available:
        available, sentence = await soon(told.get())
    assert sentence.startswith("Docker engine ")
    await launcher.close()


async def test_an_engine_that_was_never_there(tmp_path: Path) -> None:
    told: list[tuple[bool, str]] = []
    host = f"unix://{tmp_path}/sock"
    launcher = DockerLauncher(tmp_path, host=host)
    await launcher.open("instance", lambda *news: told.append(news))
    assert told == [(False, f"Cannot reach the Docker engine at {host}: No such file or directory")]
    await launcher.close()


async def test_out_of_memory_while_the_engine_is_away(
    bench: Bench, own_docker_engine: PrivateEngine
) -> None:
    """The engine, back again, knows nothing of it; the shim has seen what the kernel counts."""
    launcher = await bench.open()
    run = shell(
        bench,
        "echo ready; until [ -e go ]; do sleep 0.02; done; exec python3 -c 'bytearray(2 << 30)'",
        memory_gb=1,
    )
    folder = await bench.start(launcher, run)
    await bench.until_log(run, b"ready")
    wait = asyncio.create_task(launcher.wait(run))
    await asyncio.sleep(0)
    await launcher.prepare(run, silent)  # the wait has asked the engine before this answer
    own_docker_engine.kill()
    async with bench.watch.subscribe(folder.run) as changes:
        (run.folder / "workspace/go").touch()
        while folder.end() is None:
            await soon(changes.wait())
    assert end_of(run).signal == SIGKILL
    own_docker_engine.start()
    assert await soon(wait) == AttemptExit(out_of_memory=True)
