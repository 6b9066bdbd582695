"""The server is killed at any step: each acknowledged task runs once and keeps its real end."""

import asyncio
import random
import re
import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
import grpc
import pytest

from fetchml.v1 import task_pb2
from tests.support.cli_server import run
from tests.support.program import ADMIN_KEY, ENDED, Backend, Server, Task, all_ended
from tests.support.rest_world import JSON
from tests.support.scripts import COUNTED, until_file
from tests.support.server_fixtures import Serve
from tests.support.waiting import SECONDS, eventually, soon

SOURCE = Path(__file__).parents[2] / "fetchml"
BEFORE_THE_END = ["preparing", "created", "prepared", "gate_opened", "started"]
AFTER_THE_END = ["ended", "collected", "finished", "removed"]
STEPS = [*BEFORE_THE_END, *AFTER_THE_END]
ONLY_AHEAD = {"ready", "its_turn", "abandoned", "claim_drafted", "revoked", "given_back"}
"""Of these tests/server/test_prestaging.py has more."""
ONLY_CONTAINERS = {"created"}
ONLY_MESSAGES = {"notified"}
"""Of these tests/server/test_notifications.py has more."""
ONLY_LIMITS = {"limit_changed"}
"""Of these tests/server/test_time_limits.py has more."""
ONLY_SWEEPS = {"documents_put", "tasks_put", "committed"}
"""These tests/server/test_crash_of_sweeps.py has."""
ONLY_CLUSTER = {"handing_over", "handed_over", "array_written", "array_submitted"}
"""Of these tests/server/test_slurm.py and test_slurm_arrays.py have more."""
ONLY_BOOKINGS = {"booking_stored", "booking_reported", "booking_removed"}
"""Of these tests/server/test_killed_bookings.py has more."""
ONLY_RUNS = {
    *("stop_requested", "warned", "term_sent", "kill_sent"),
    *("checkpoint_written", "checkpoint_copied", "checkpoint_placed"),
    *("environment_begun", "environment_created", "environment_started"),
    *("environment_installed", "environment_recorded", "environment_kept", "environment_held"),
}
"""tests/server/test_crash_of_runs.py covers these."""
IN_CONTAINERS = ["created", "prepared", "gate_opened", "ended", "removed"]
"""Steps around which the engine is asked for something."""
QUICK = ["gate_opened", "ended"]
"""Steps of processes that `make test` covers."""
ROUNDS = 3


def test_every_failpoint_is_covered() -> None:
    reached = {
        step
        for file in SOURCE.rglob("*.py")
        for step in re.findall(r'failpoints\.reach\("(\w+)"\)', file.read_text())
    }
    groups = (ONLY_AHEAD, ONLY_MESSAGES, ONLY_LIMITS, ONLY_SWEEPS, ONLY_CLUSTER, ONLY_BOOKINGS)
    assert reached == {*STEPS}.union(*groups, ONLY_RUNS)


async def work_and_kill(server: Server, dice: random.Random, acknowledged: dict[str, str]) -> None:
    """Submit tasks, one more for each that ends; kill the server in the middle of it."""
    submits: list[asyncio.Task[None]] = []

    async def submit(code: str) -> None:
        task_id = await server.submit(f"{COUNTED} sleep 0.0{code}; exit {code}", job_name=code)
        acknowledged[task_id] = code

    def begin() -> None:
        submits.append(asyncio.create_task(submit(str(dice.randrange(8)))))

    async with server.watch(since=None) as updates:
        for _ in range(4):
            begin()
        for _ in range(dice.randint(1, 25)):
            if (await soon(anext(updates))).task.status in ENDED:
                begin()
        await server.kill()
    await asyncio.gather(*submits, return_exceptions=True)  # some were not answered any more


async def follow(server: Server, task_id: str, read: bytearray) -> grpc.StatusCode | None:
    """Read the task's log on from where `read` ends; the status if the stream is broken off."""
    request = task_pb2.StreamTaskLogsRequest(task_id=task_id, offset=len(read), follow=True)
    try:
        call = server.grpc.tasks.StreamTaskLogs(request)
        async for chunk in call:
            assert chunk.offset == len(read)
            read += chunk.data
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


class Crashes:
    """A subclass brings the fixtures `backend` and `step`."""

    async def test_killed_at_each_step(self, serve: Serve, backend: Backend, step: str) -> None:
        server = await serve(backend).start(FETCHML_CRASH_AT=step)
        runs_on = step in BEFORE_THE_END
        script = COUNTED + (until_file("go") if runs_on else "") + "echo over; exit 7"
        request = {"job_name": "a", "command": ["sh", "-c", script]}
        acknowledged = None
        with suppress(aiohttp.ClientError):  # it may die before it has answered
            acknowledged = (await soon(server.rest.submit(request, Idempotency_Key="k"))).json["id"]
        assert await server.died() == -signal.SIGKILL

        await server.start()
        task_id = (await server.rest.submit(request, Idempotency_Key="k")).json["id"]
        assert acknowledged in (None, task_id)
        if runs_on:
            await server.running(task_id)
            server.tell(task_id)
        await server.ended(task_id)
        task = await server.get(task_id)
        assert (task.status, task.exit_code) == (Task.failed, 7), task
        assert (task.attempt, task.retry_count, task.error) == (1, 0, "exit code 7")
        assert task.output == "started\nover\n"
        assert await server.starts(task_id) == 1
        await server.assert_idle(task_id)
        assert server.files_of_attempts(task_id) == {"run", "opened"}

    @pytest.mark.slow
    async def test_killed_at_random(self, serve: Serve, backend: Backend) -> None:
        """Again and again, while tasks are submitted and run in several slots."""
        dice = random.Random(20)  # noqa: S311  # dice, no secret
        server = serve(backend, FETCHML_TASKS_MAX_RUNNING="3")
        acknowledged: dict[str, str] = {}
        for _ in range(ROUNDS):
            await server.start()
            await work_and_kill(server, dice, acknowledged)
        await server.start()
        everything = {task["id"] for task in (await server.rest.get("/v1/tasks")).json["tasks"]}
        assert acknowledged.keys() <= everything
        async with server.watch() as updates:
            ended = await all_ended(updates, everything)
        for task_id, task in ended.items():
            assert str(task.exit_code) == task.job_name == acknowledged.get(task_id, task.job_name)
            assert (task.attempt, task.retry_count) == (1, 0), task
            assert await server.starts(task_id) == 1
        await server.assert_idle(*everything)

    async def test_killed_after_a_cancellation_was_acknowledged(
        self, serve: Serve, backend: Backend
    ) -> None:
        limits = {"FETCHML_TASKS_MAX_RUNNING": "1", "FETCHML_TASKS_GRACE_SECONDS": "1"}
        server = await serve(backend, **limits).start()
        obstinate = await server.submit(
            "trap '' TERM; echo ready; " + until_file("never"), max_retries=3
        )
        waits = await server.submit("true")
        read = bytearray()
        following = asyncio.create_task(follow(server, obstinate, read))
        await eventually(lambda: read == b"ready\n")
        for task_id in (obstinate, waits):
            assert (await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")).status == 204
        server.signal(signal.SIGKILL)
        # First: who closes the channel beside it may be quicker than the news.
        assert await soon(following) is grpc.StatusCode.UNAVAILABLE
        assert await server.died() == -signal.SIGKILL
        await server.start()
        for task_id, code in ((obstinate, 128 + signal.SIGKILL), (waits, 0)):
            task = await server.ended(task_id)
            assert (task.status, task.error) == (Task.failed, "cancelled by admin"), task
            assert (task.retry_count, task.exit_code) == (0, code), task
        await server.assert_idle(obstinate, waits)

    async def test_stopped_and_started_under_tasks(self, serve: Serve, backend: Backend) -> None:
        server = await serve(backend).start()
        script = (
            f"echo before; {until_file('go')} echo between; {until_file('end')} echo after; exit 3"
        )
        runs_on = await server.submit(script)
        ends_meanwhile = await server.submit(until_file("go") + "echo over; exit 4")
        both = (runs_on, ends_meanwhile)
        for task_id in both:
            await server.running(task_id)
        read = bytearray()
        following = asyncio.create_task(follow(server, runs_on, read))
        await eventually(lambda: read == b"before\n")
        server.signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            assert await following is grpc.StatusCode.UNAVAILABLE
            assert await server.died() == 0

        assert len(backend.left_of(both)) >= 2, "tasks go on without the server"
        for task_id in both:
            server.tell(task_id)
        exit_file = server.attempt_folder(ends_meanwhile) / "run/exit"
        await eventually(exit_file.exists)
        await server.start()
        following = asyncio.create_task(follow(server, runs_on, read))
        await eventually(lambda: read == b"before\nbetween\n")
        server.tell(runs_on, name="end")
        assert await soon(following) is None
        assert read == b"before\nbetween\nafter\n"
        for task_id, code in ((runs_on, 3), (ends_meanwhile, 4)):
            task = await server.ended(task_id)
            assert (task.exit_code, task.attempt) == (code, 1), task
        await server.assert_idle(*both)


class TestCrashesOverProcesses(Crashes):
    @pytest.fixture
    def backend(self, processes_backend: Backend) -> Backend:
        return processes_backend

    @pytest.fixture(
        params=[
            pytest.param(step, marks=[] if step in QUICK else [pytest.mark.slow])
            for step in STEPS
            if step not in ONLY_CONTAINERS
        ]
    )
    def step(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


@pytest.mark.slow
class TestCrashesOverContainers(Crashes):
    @pytest.fixture
    def backend(self, containers_backend: Backend) -> Backend:
        return containers_backend

    @pytest.fixture(params=IN_CONTAINERS)
    def step(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["created", "gate_opened"])
async def test_killed_with_secrets(serve: Serve, containers_backend: Backend, step: str) -> None:
    """The task gets them once, and nothing is left of them."""
    server = await serve(containers_backend).start()
    for name in ("TOKEN", "KEY"):
        body = b'{"value":"value-of-a-secret"}'
        reply = await server.rest.ask("PUT", f"/v1/secrets/{name}", body, **JSON)
        assert reply.status == 200
    server.signal(signal.SIGKILL)
    assert await server.died() == -signal.SIGKILL
    await server.start(FETCHML_CRASH_AT=step)
    script = COUNTED + 'echo "$TOKEN ${#TOKEN}"; cat "$FETCHML_SECRETS/KEY"'
    uses = [{"name": "TOKEN"}, {"name": "KEY", "as": "file"}]
    request = {"job_name": "a", "command": ["sh", "-c", script], "secrets": uses}
    with suppress(aiohttp.ClientError):
        await soon(server.rest.submit(request, Idempotency_Key="k"))
    assert await server.died() == -signal.SIGKILL
    await server.start()
    task_id = (await server.rest.submit(request, Idempotency_Key="k")).json["id"]
    task = await server.ended(task_id)
    assert (task.status, task.attempt) == (Task.completed, 1), task
    assert (await server.get(task_id)).output == "started\n*** 17\n***"
    assert await server.starts(task_id) == 1
    await server.assert_idle(task_id)
    files = [path for path in server.data_dir.rglob("*") if path.is_file()]
    assert not any(b"value-of-a-secret" in path.read_bytes() for path in files)


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2])
async def test_unfinished_request_does_not_block_shutdown(
    serve: Serve, processes_backend: Backend, signals: int
) -> None:
    """It holds the server for a while, and no longer when there is a second signal."""
    server = await serve(processes_backend).start()
    host, _, port = server.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nX-API-Key: {ADMIN_KEY}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    writer.write(head.encode())
    async with server.watch(since=None) as updates:
        assert (await soon(anext(updates))).type == task_pb2.WatchTasksResponse.synced
        server.signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await soon(anext(updates))
    assert cut.value.code() is grpc.StatusCode.UNAVAILABLE
    if signals == 2:
        server.signal(signal.SIGTERM)
    async with asyncio.timeout(SECONDS):
        assert await server.died() == (0 if signals == 1 else 128 + signal.SIGTERM)
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    await server.start()
    assert (await server.rest.get("/v1/tasks")).json["total"] == 0


async def test_second_server_on_the_same_data_is_refused(
    serve: Serve, processes_backend: Backend
) -> None:
    server = await serve(processes_backend).start()
    flags = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--launcher", "process")
    second = await asyncio.to_thread(run, "serve", "--data-dir", str(server.data_dir), *flags)
    assert second.code == 1
    assert f"pid {server.pid}" in second.err
    assert (await server.rest.get("/v1/tasks")).status == 200
