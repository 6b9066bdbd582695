"""A lease: a task on a node that is cut off is started again only after it has ended there."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fetchml.v1 import task_pb2
from testbed.slurm import Slurm
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow

Task = task_pb2.Task
LEASE_SECONDS = 6
"""Far longer than a process waits for its turn on a busy machine."""


@pytest.fixture
def shared() -> Iterator[Path]:
    """In memory: a renewal waits for the disk, which other tests use too."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def shims(shared: Path) -> list[int]:
    """The processes of the nodes that read and write the shared folder, but for the guards."""
    parents: dict[int, int] = {}
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):  # One may end meanwhile.
            if (process / "exe").readlink().is_relative_to(shared / "shim"):
                parents[int(process.name)] = int((process / "stat").read_text().split()[3])
    guards = {parent for parent in parents.values() if parents.get(parent) in parents}
    return [pid for pid in parents if pid not in guards]


async def test_task_of_a_node_that_is_cut_off_is_retried_after_its_lease(
    serve: Serve, own_slurm: Slurm, shared: Path, tmp_path: Path
) -> None:
    backend = backend_of(own_slurm, "rest", shared)
    server = await serve(backend, FETCHML_SLURM_LEASE_SECONDS=str(LEASE_SECONDS)).start()
    beats, again = tmp_path / "beats", tmp_path / "again"
    script = (
        f'if [ "$FETCHML_ATTEMPT" = 2 ]; then date +%s%N >{again}; exit 4; fi; '
        f"while :; do date +%s%N >{beats}.new; mv {beats}.new {beats}; sleep 0.05; done"
    )
    task_id = await server.submit_running(script)
    node = (await server.get(task_id)).worker_id
    await asyncio.to_thread(own_slurm.lose_node, node)
    show = ("squeue", "--noheader", "--states=all", "--format=%T")
    await eventually(lambda: "NODE_FAIL" in own_slurm.run(*show))
    said = await until(lambda: server.explained(task_id), lambda text: "silent" in text)
    assert f"not renewed its lease for {2 * LEASE_SECONDS} s" in said
    # Its lease is renewed: nothing is done, however long that is.
    assert (await server.get(task_id)).attempt == 1
    # Now the node does not reach the shared folder either.
    stopped = shims(shared)
    assert len(stopped) == 2, "the shim and what renews its lease"
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        task = await server.ended(task_id)
        assert (task.exit_code, task.attempt, task.infra_retries) == (4, 2, 1), task
        assert task.worker_id != node
        assert int(beats.read_text()) < int(again.read_text()), "two copies ran at once"
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):  # Slurm may have killed it meanwhile.
                os.kill(pid, signal.SIGCONT)
    # The cut is over. The shim of the first attempt ends, and nothing comes of it.
    await eventually(lambda: not shims(shared))
    assert (await server.get(task_id)).attempt == 2
