"""The real server program on one data directory: started, stopped and killed as a test wants."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from fetchml.core.model import Role
from fetchml.system import processes
from fetchml.v1 import key_pb2, queue_pb2, task_pb2
from testbed.docker_engine import remove
from testbed.server_processes import kill_tasks, resident_bytes
from tests.support import front, grpc_world, preloaded, rest_world
from tests.support.cli_server import environment, serving
from tests.support.preloaded import FETCHML, Program
from tests.support.waiting import SECONDS, eventually, soon

ADMIN_KEY = "an-admin-key-for-tests"
Task = task_pb2.Task
ENDED = (Task.completed, Task.failed)


@dataclass(frozen=True)
class Backend:
    """What runs a server's tasks."""

    variables: Mapping[str, str]
    """The server's settings for it."""
    containers: Callable[[], Iterable[Any]]
    """All that exist."""
    tasks_dir: Path | None = None
    """Where the files of tasks are; `None` if in the data directory."""
    end_jobs: Callable[[], None] = lambda: None
    """Ends what a cluster runs of them."""

    def left_of(self, task_ids: Iterable[str]) -> list[str]:
        """What there still is of these tasks: containers and processes."""
        marks = {f"FETCHML_TASK_ID={task_id}" for task_id in task_ids}
        found = [
            str(container.name)
            for container in self.containers()
            if f"FETCHML_TASK_ID={container.labels.get('fetchml.task')}" in marks
        ]
        found += [
            f"process {pid}"
            for pid in processes.pids()
            if marks.intersection(processes.environment(pid))
        ]
        return found


class Server:
    """Each start takes free ports; clients made before it are for the dead one."""

    rest: rest_world.Client
    grpc: grpc_world.Client
    http_address: str
    grpc_address: str
    program: Sequence[str] = FETCHML

    def __init__(self, data_dir: Path, backend: Backend, **variables: str) -> None:
        """`variables`: the environment of every start."""
        self.data_dir = data_dir
        self.backend = backend
        self._variables = {
            "FETCHML_ADMIN_KEY": ADMIN_KEY,
            "FETCHML_RATE_LIMIT_ENABLED": "false",
            "FETCHML_HISTORY_MIN_FREE_MB": "0",
            **backend.variables,
            **variables,
        }
        self._log = data_dir.parent / f"{data_dir.name}.log"
        self.up = asyncio.Event()
        """Set while it can be called."""
        self._clients = AsyncExitStack()
        self._process: Program | None = None

    async def start(self, program: Sequence[str] = (), **variables: str) -> "Server":
        """Returns when it is ready. `variables`: the environment of this start only."""
        flags = ["--data-dir", str(self.data_dir)]
        flags += ["--http", f"127.0.0.1:{front.http_port()}"]
        flags += ["--grpc", f"127.0.0.1:{front.grpc_port()}"]
        with self._log.open("ab") as log:
            command = [*(program or self.program), "serve", *flags]
            given = environment(**{**self._variables, **variables})
            self._process, line = await asyncio.to_thread(preloaded.serve, command, given, log)
        assert line.startswith("ready "), f"{line}\n{self.log}"
        addresses = dict(part.split("=", 1) for part in line.split()[1:])
        self.http_address = front.seen(addresses["http"])
        self.grpc_address = front.seen(addresses["grpc"])
        self.rest, self.grpc = await self.clients(ADMIN_KEY)
        self.up.set()
        return self

    @property
    def pid(self) -> int:
        """Of the process that serves."""
        return serving(self._started.pid)

    @property
    def _started(self) -> Program:
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def log(self) -> str:
        """What all starts have written to stderr."""
        return self._log.read_text()

    @property
    def memory(self) -> int:
        """Resident bytes of the process that serves."""
        return resident_bytes(self.pid)

    def signal(self, number: signal.Signals) -> None:
        self.up.clear()
        os.kill(self._started.pid, number)

    async def died(self) -> int:
        """Its exit status, negative for a signal, once it has ended."""
        status = await soon(self._started.ended())
        await self._clients.aclose()
        return status

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert await self.died() == -signal.SIGKILL

    async def kill_and_start(self, program: Sequence[str] = (), **variables: str) -> None:
        await self.kill()
        await self.start(program, **variables)

    async def stop(self) -> None:
        self.signal(signal.SIGTERM)
        assert await self.died() == 0, self.log

    async def close(self) -> None:
        """End the server, if it runs, and whatever its tasks have left."""
        if self._process is not None and self._process.poll() is None:
            await self.kill()
        ours = {f"FETCHML_TASK_ID={path.name}" for path in self.data_dir.glob("tasks/*")}
        for container in self.backend.containers():
            if f"FETCHML_TASK_ID={container.labels.get('fetchml.task')}" in ours:
                remove(container)
        kill_tasks(self.data_dir.glob("tasks/*"))
        await asyncio.to_thread(self.backend.end_jobs)

    async def clients(self, secret: str | None) -> tuple[rest_world.Client, grpc_world.Client]:
        """For both transports, with this key, until the server ends."""
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), skip_auto_headers=("Content-Type",)
        )
        await self._clients.enter_async_context(session)
        client = grpc_world.Client(self.grpc_address, secret)
        self._clients.push_async_callback(client.channel.close)
        return rest_world.Client(session, f"http://{self.http_address}", secret), client

    async def key(self, name: str, role: Role) -> str:
        """A new API key, made as the box's owner does."""
        control = grpc_world.Client(f"unix:{self.data_dir}/control.sock", None)
        request = key_pb2.CreateKeyRequest(name=name, role=role.value)
        try:
            return str((await control.keys.CreateKey(request)).secret)
        finally:
            await control.channel.close()

    async def submit(self, script: str, **fields: Any) -> str:
        """The id of a task that runs this script in a shell."""
        fields = {"job_name": "job", "command": ["sh", "-c", script], **fields}
        reply = await soon(self.rest.submit(fields))
        assert reply.status == 201, reply.body
        return str(reply.json["id"])

    async def submit_running(self, script: str, **fields: Any) -> str:
        """The id of a task that runs this script, once it runs."""
        task_id = await self.submit(script, **fields)
        await self.running(task_id)
        return task_id

    async def shown(self, task_id: str) -> dict[str, Any]:
        """The full view of a task over REST."""
        found: dict[str, Any] = (await self.rest.get(f"/v1/tasks/{task_id}?view=full")).json
        return found

    async def change_limit(self, task_id: str, seconds: int) -> rest_world.Reply:
        body = msgspec.json.encode({"timeout_seconds": seconds})
        path = f"/v1/tasks/{task_id}?view=full"
        return await self.rest.ask("PATCH", path, body, **rest_world.JSON)

    async def health(self) -> str:
        return str((await self.rest.get("/health")).json["status"])

    @asynccontextmanager
    async def watch(
        self, since: int | None = 0, client: grpc_world.Client | None = None, **where: Any
    ) -> AsyncIterator[AsyncIterator[task_pb2.WatchTasksResponse]]:
        """The stream of WatchTasks in the full view; by default all there ever was."""
        client = client or self.grpc
        request = task_pb2.WatchTasksRequest(since_seq=since, view=task_pb2.FULL, **where)
        call = client.tasks.WatchTasks(request)
        try:
            yield aiter(call)
        finally:
            call.cancel()

    async def until(self, task_id: str, holds: Callable[[Task], bool]) -> Task:
        """The first version of the task of which this holds."""
        async with asyncio.timeout(SECONDS), self.watch(task_id=task_id) as updates:
            async for update in updates:
                if holds(update.task):
                    return update.task
        raise AssertionError("a watch never ends by itself")

    async def running(self, task_id: str) -> Task:
        return await self.until(task_id, lambda task: task.status == Task.running)

    async def ended(self, task_id: str) -> Task:
        return await self.until(task_id, lambda task: task.status in ENDED)

    async def get(self, task_id: str) -> Task:
        """With its output."""
        request = task_pb2.GetTaskRequest(task_id=task_id, view=task_pb2.FULL)
        task: Task = await self.grpc.tasks.GetTask(request)
        return task

    async def queue(self) -> queue_pb2.QueueStats:
        request = queue_pb2.GetQueueRequest()
        stats: queue_pb2.QueueStats = await self.grpc.queue.GetQueue(request)
        return stats

    async def explained(self, task_id: str) -> str:
        """Why the task is in its state."""
        return str((await self.rest.get(f"/v1/tasks/{task_id}/explain")).json["reason"])

    async def at_gate(self, task_id: str, attempt: int = 1) -> Task:
        """The task, once its prestaged attempt waits at the gate; its command has not begun."""
        task = await self.until(task_id, lambda task: task.ahead and task.attempt == attempt)
        run = self.data_dir / f"tasks/{task_id}/attempts/{attempt}/run"
        while not (await self.explained(task_id)).endswith("It is ready to start."):
            assert not (run / "claim").exists()
        # For a moment after its start the kernel shows no environment of a process.
        await eventually(lambda: bool(self.backend.left_of([task_id])))
        assert not (run / "claim").exists()
        assert not (run.parent / "opened").exists()
        return task

    async def starts(self, task_id: str) -> int:
        """How often the command of a task with `scripts.COUNTED` was started."""
        reply = await self.rest.get(f"/v1/tasks/{task_id}/outputs/starts")
        assert reply.status == 200, reply.body
        return reply.body.count(b"started\n")

    def tell(self, task_id: str, attempt: int = 1, name: str = "go") -> None:
        """Make a file in the task's workspace."""
        (self.attempt_folder(task_id, attempt) / f"workspace/{name}").touch()

    def attempt_folder(self, task_id: str, attempt: int = 1) -> Path:
        tasks_dir = self.backend.tasks_dir or self.data_dir
        return tasks_dir / f"tasks/{task_id}/attempts/{attempt}"

    def files_of_attempts(self, *task_ids: str) -> set[str]:
        """The names of what is left in the folders of all attempts of these tasks. Left out: the
        output of a cluster's job, which is kept with the log, and its start file, which a server
        that is killed between the end and the removal leaves there."""
        tasks = (self.backend.tasks_dir or self.data_dir) / "tasks"
        folders = (tasks / task_id / "attempts" for task_id in task_ids)
        return {path.name for folder in folders for path in folder.glob("*/*")} - {
            "job.out",
            "start",
        }

    async def assert_idle(self, *task_ids: str) -> None:
        """Nothing is left of the tasks, no slot is held, and a further task runs."""
        await eventually(lambda: not self.backend.left_of(task_ids))
        stats = await self.queue()
        assert (stats.running, stats.queued) == (0, 0)
        task = await self.ended(await self.submit("true"))
        assert task.status == Task.completed, task
        await eventually(lambda: not self.backend.left_of([task.id]))


async def all_ended(
    updates: AsyncIterator[task_pb2.WatchTasksResponse],
    task_ids: Iterable[str],
    seconds: float = SECONDS,
) -> dict[str, Task]:
    """The last version of each of these tasks, off a watch that tells of all."""
    wanted, ended = set(task_ids), dict[str, Task]()
    async with asyncio.timeout(seconds):
        while not wanted <= ended.keys():
            update = await anext(updates)
            if update.task.status in ENDED:
                ended[update.task.id] = update.task
    return ended
