"""The executable on the data directory of the first FetchML, whose tasks run on meanwhile.

`data/fetchml-first.tar.gz` is its package as it was, to be run with today's libraries: never make
it anew.
"""

import signal
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.program import Backend, Task
from tests.support.scripts import COUNTED, until_file
from tests.support.server_fixtures import Serve

pytestmark = pytest.mark.slow

FIRST = Path(__file__).parent / "data/fetchml-first.tar.gz"


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Where Python finds its package."""
    with tarfile.open(FIRST) as archive:
        archive.extractall(tmp_path / "first", filter="data")
    return tmp_path / "first"


def told(task: Task) -> str:
    """What the first one knew of it, too."""
    names = ("status", "exit_code", "error", "output", "created_at", "started_at", "ended_at")
    return str([getattr(task, name) for name in names])


@pytest.mark.parametrize("backend", ["processes_backend", "containers_backend"])
@pytest.mark.parametrize("ends_by", [signal.SIGTERM, signal.SIGKILL])
async def test_tasks_of_the_first_release_continue(
    executable: str,
    first: Path,
    serve: Serve,
    backend: str,
    ends_by: signal.Signals,
    request: pytest.FixtureRequest,
) -> None:
    runs_tasks: Backend = request.getfixturevalue(backend)
    server = serve(runs_tasks, FETCHML_TASKS_MAX_RUNNING="4")
    await server.start([sys.executable, "-P", "-m", "fetchml"], PYTHONPATH=str(first))
    done = await server.submit("echo said; echo kept > $FETCHML_OUTPUTS/result")
    failed = await server.submit("exit 3", max_retries=0)
    for task_id in (done, failed):
        await server.ended(task_id)
    running = [
        await server.submit(COUNTED + until_file("go") + f"exit {code}") for code in range(4)
    ]
    for task_id in running:
        await server.running(task_id)
    waiting = await server.submit("echo at last")
    before = [told(await server.get(task_id)) for task_id in (done, failed)]
    server.signal(ends_by)
    await server.died()

    await server.start([executable])
    assert [told(await server.get(task_id)) for task_id in (done, failed)] == before
    assert (await server.rest.get(f"/v1/tasks/{done}/outputs/result")).body == b"kept\n"
    assert (await server.get(waiting)).status in (Task.queued, Task.preparing)
    for task_id in running:
        assert (await server.get(task_id)).status == Task.running
        server.tell(task_id)
    for code, task_id in enumerate(running):
        task = await server.ended(task_id)
        assert (task.exit_code, task.attempt) == (code, 1), task
        assert await server.starts(task_id) == 1
    await server.ended(waiting)
    assert (await server.get(waiting)).output == "at last\n"
    async with server.watch() as updates:
        journal = [await anext(updates) for _ in range(7)]
    assert {update.task.id for update in journal} <= {done, failed, waiting, *running}
    await server.assert_idle(*running, waiting)
