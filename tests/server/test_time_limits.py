"""Time limits of running tasks, changed under the process launcher and the docker launcher."""

import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.support.program import Backend, Server, Task
from tests.support.rest_world import JSON
from tests.support.scripts import until_file
from tests.support.server_fixtures import Serve
from tests.support.waiting import eventually, soon

pytestmark = pytest.mark.slow

OUTLIVES = "sleep 4; exit 7"
"""Ends in its own way after the first limit of its task."""
FIRST = 3
"""Seconds."""
LONG = 600
ATTACK = """
for target in /.fetchml/control/limit /.fetchml/control/new; do
    echo timeout_ms=0 > $target && echo "wrote $target"
done
rm -rf /.fetchml/control/limit /.fetchml/control && echo removed
mv /.fetchml/control /.fetchml/other && echo moved
ln -sfn /workspace /.fetchml/control/limit && echo linked
chmod 777 /.fetchml/control && echo opened
mount -o remount,rw /.fetchml/control && echo remounted
umount /.fetchml/control && echo unmounted
touch attacked
while :; do sleep 0.05; done
"""


def control(server: Server, task_id: str) -> Path:
    return server.data_dir / f"tasks/{task_id}/attempts/1/control"


class TimeLimits:
    """A subclass brings the fixture `backend`."""

    async def test_task_outlives_its_first_limit(self, serve: Serve, backend: Backend) -> None:
        server = await serve(backend).start()
        task_id = await server.submit(OUTLIVES, timeout_seconds=FIRST)
        await server.running(task_id)
        reply = await server.change_limit(task_id, LONG)
        assert (reply.status, reply.json["timeout_seconds"]) == (200, LONG)
        task = await server.ended(task_id)
        assert (task.exit_code, task.failure_reason) == (7, Task.EXIT_CODE), task
        assert not control(server, task_id).exists(), "nothing is left of it"
        late = await server.change_limit(task_id, LONG + 1)
        assert (late.status, late.json["code"]) == (409, "CONFLICT")
        await server.assert_idle(task_id)

    @pytest.mark.parametrize("seconds", [5, 2 * LONG])
    async def test_a_killed_server_leaves_the_change_to_the_next(
        self, serve: Serve, backend: Backend, seconds: int
    ) -> None:
        """The change is durable, and the shim was not given it."""
        server = await serve(backend).start(FETCHML_CRASH_AT="limit_changed")
        task_id = await server.submit_running(until_file("go") + "exit 7", timeout_seconds=LONG)
        with suppress(aiohttp.ClientError):
            await soon(server.change_limit(task_id, seconds))
        assert await server.died() == -signal.SIGKILL
        assert not (control(server, task_id) / "limit").exists()
        await server.start()
        assert (await server.get(task_id)).timeout_seconds == seconds
        if seconds > LONG:
            await eventually((control(server, task_id) / "limit").exists)
            text = (control(server, task_id) / "limit").read_text()
            assert text == f"timeout_ms={seconds * 1000}\n"
            server.tell(task_id)
        task = await server.ended(task_id)
        assert task.failure_reason == (Task.EXIT_CODE if seconds > LONG else Task.TIMEOUT), task
        assert task.attempt == 1
        await server.assert_idle(task_id)

    async def test_attempts_of_earlier_releases_keep_their_limit(
        self, serve: Serve, backend: Backend
    ) -> None:
        """Their shims look nowhere: the change is refused, before anything is recorded."""
        server = await serve(backend).start()
        task_id = await server.submit_running(until_file("go") + "exit 7", timeout_seconds=LONG)
        control(server, task_id).rename(server.data_dir / "moved")
        for _ in range(2):
            reply = await server.change_limit(task_id, 2 * LONG)
            assert (reply.status, reply.json["code"]) == (409, "CONFLICT")
            assert "earlier release" in reply.json["error"]
            assert (await server.get(task_id)).timeout_seconds == LONG
            await server.kill_and_start()
            await server.running(task_id)
        body = b'{"metadata": {"a": "b"}}'
        reply = await server.rest.ask("PATCH", f"/v1/tasks/{task_id}", body, **JSON)
        assert reply.status == 200
        server.tell(task_id)
        assert (await server.ended(task_id)).exit_code == 7
        await server.assert_idle(task_id)


class TestTimeLimitsOverProcesses(TimeLimits):
    @pytest.fixture
    def backend(self, processes_backend: Backend) -> Backend:
        return processes_backend


class TestTimeLimitsOverContainers(TimeLimits):
    test_attempts_of_earlier_releases_keep_their_limit = None  # type: ignore[assignment]

    @pytest.fixture
    def backend(self, containers_backend: Backend) -> Backend:
        return containers_backend

    async def test_task_can_not_change_its_own_limit(self, serve: Serve, backend: Backend) -> None:
        server = await serve(backend).start()
        task_id = await server.submit_running(ATTACK, timeout_seconds=LONG)
        attacked = server.data_dir / f"tasks/{task_id}/attempts/1/workspace/attacked"
        await eventually(attacked.exists)
        assert list(control(server, task_id).iterdir()) == []
        assert (await server.change_limit(task_id, FIRST + 20)).status == 200
        task = await server.ended(task_id)
        assert task.failure_reason == Task.TIMEOUT, task
        await server.assert_idle(task_id)
        output = (await server.get(task_id)).output
        words = ("wrote", "removed", "moved", "linked", "opened", "remounted", "unmounted")
        assert not any(line.split(" ")[0] in words for line in output.splitlines()), output
