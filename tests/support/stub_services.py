"""Jupyter services without anything that runs: their tasks change when a test says so."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from fetchml.core.jupyter import Activity
from fetchml.core.model import Actor, Cancel, Resources, Status, Task, TaskSpec
from fetchml.core.requests.submission import TaskLimits
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.folder_events import FolderEvents
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_users import SharedOwner
from fetchml.jupyter.jupyter_service import JupyterOptions, JupyterServices
from fetchml.jupyter.workspaces import Workspaces
from fetchml.ports.jupyter import JupyterEndpoint, JupyterLink, JupyterSilent
from fetchml.system.ids import IdSequence
from tests.support.memory_engine import MemoryEngine

START_MS = 1_760_000_000_000
CAPACITY = Resources(cpu=64, memory_gb=256, gpu=8)
PUBLIC_URL = "https://box.example"
OPTIONS = JupyterOptions(
    {}, 0, private=False, has_containers=True, public_url=PUBLIC_URL, loopback=True
)


class StubServiceTasks:
    """What `ServiceTasks` is for `JupyterServices`."""

    capacity = CAPACITY
    limits = TaskLimits()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tasks: dict[str, Task] = {}
        self._listeners: list[Callable[[Task], None]] = []
        self.room: Exception | None = None
        self.log = ""
        self.silent = set[str]()
        """Ids of those whose node is silent."""
        self._ids = IdSequence()

    def subscribe(self, listener: Callable[[Task], None]) -> None:
        self._listeners.append(listener)

    def require_room(self) -> None:
        if self.room is not None:
            raise self.room

    def require_quota(self, user: str, spec: TaskSpec) -> None:
        """Nobody has one here."""

    def live(self) -> list[Task]:
        return list(self.tasks.values())

    async def find(self, task_id: str) -> Task | None:
        return self.tasks.get(task_id)

    def next_id(self) -> tuple[str, int]:
        return self._ids.next(START_MS), START_MS

    def submit(self, task: Task) -> asyncio.Future[None]:
        return self._tell(task)

    def cancel(self, task_id: str, by: Actor) -> asyncio.Future[None]:
        return self.change(task_id, cancel=Cancel.of(by, START_MS + 1))

    def waits_for(self, task: Task) -> str:
        return "It waits for 1 GPU (0 of 8 free)."

    def is_silent(self, task: Task) -> bool:
        return task.id in self.silent

    def attempt(self, task: Task) -> AttemptFolder:
        return AttemptFolder(self.folder / task.id)

    async def log_tail(self, task: Task) -> str:
        return self.log

    async def remove_files(self, task_id: str) -> None: ...

    def change(self, task_id: str, **fields: Any) -> asyncio.Future[None]:
        return self._tell(replace(self.tasks[task_id], **fields))

    def run(self, task_id: str) -> asyncio.Future[None]:
        """Its container runs, with something like a socket in its folder."""
        (self.folder / task_id / "run").mkdir(parents=True)
        return self.change(task_id, status=Status.RUNNING, attempt=1, started_at=START_MS + 1)

    def _tell(self, task: Task) -> asyncio.Future[None]:
        self.tasks[task.id] = task
        for listener in self._listeners:
            listener(task)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class StubLink:
    def __init__(self, service_id: str, token: str) -> None:
        self.service_id = service_id
        self.token = token
        self.closed = False

    def close(self) -> None:
        self.closed = True


@dataclass
class StubClient:
    """`found` None: Jupyter is silent. `asked` is set at each question."""

    ready: bool = True
    found: Activity | None = field(default_factory=lambda: Activity(busy=False))
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def open_link(self, place: JupyterEndpoint) -> JupyterLink:
        return cast("JupyterLink", StubLink(place.service_id, place.token))

    async def answers(self, link: JupyterLink) -> bool:
        self.asked.set()
        return self.ready

    async def activity(self, link: JupyterLink) -> Activity:
        self.asked.set()
        if self.found is None:
            raise JupyterSilent("it says nothing")
        return self.found


@asynccontextmanager
async def services_on(
    engine: MemoryEngine, options: JupyterOptions = OPTIONS
) -> AsyncIterator[tuple[JupyterServices, StubServiceTasks]]:
    with tempfile.TemporaryDirectory() as folder:
        tasks = StubServiceTasks(Path(folder) / "tasks")
        async with FolderEvents() as watch:
            jupyter = JupyterServices(
                engine.store,
                cast("Any", tasks),
                Workspaces(
                    engine.store,
                    Path(folder) / "jupyter",
                    SharedOwner(None),
                    StorageUsage(0),
                    shared=("shared/*",),
                ),
                StubClient(),
                watch,
                options,
                audit=engine.parts.audit,
                token_key=lambda: b"key",
            )
            await jupyter.load()
            async with jupyter.supervision.running():
                yield jupyter, tasks
