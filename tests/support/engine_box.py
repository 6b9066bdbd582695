"""A real engine: DuckDB on disk, real processes or containers. Only the network is not there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.adapters.duckdb.store import DuckDBStore
from fetchml.adapters.origins.http import HttpOrigin
from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.attempts.manager import AttemptSettings
from fetchml.core.addresses import AddressRules
from fetchml.core.model import ENDED, Principal, Resources, Role, Status, Task
from fetchml.core.requests.submission import Defaults, SubmissionRules, TaskLimits
from fetchml.core.requests.volumes import Volume
from fetchml.core.state import Limits
from fetchml.datasets.cache import DatasetCache
from fetchml.datasets.provider import DatasetProvider
from fetchml.engine.engine import Engine
from fetchml.engine.experiments import Experiments
from fetchml.engine.gpus.gpus import Gpus
from fetchml.engine.task_index import RECENT, RECENT_BYTES
from fetchml.files.folder_events import FolderEvents
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_users import SharedOwner
from fetchml.jupyter.jupyter_service import JupyterOptions, JupyterServices
from fetchml.ports.launcher import Launcher
from fetchml.server.assembled import Assembly
from fetchml.server.assembly import Options, Outside, assemble
from fetchml.snapshots.snapshot_service import SnapshotOptions, Snapshots
from fetchml.snapshots.unpack import UnpackLimits
from fetchml.views import WatchFilter
from testbed.docker_engine import Engine as DockerEngine
from tests.support.waiting import SECONDS

ALICE = Principal("alice", Role.USER, "key-a")
BOB = Principal("bob", Role.USER, "key-b")
VIEWER = Principal("eve", Role.VIEWER, "key-v")
ADMIN = Principal("root", Role.ADMIN, "key-r")


ADDRESSES = AddressRules(allow_private=True)
"""Datasets of these tests are fetched from this machine."""


class Box:
    """A data directory on which engines can be started, one after the other."""

    experiments: Experiments
    gpus: Gpus
    snapshots: Snapshots
    jupyter: JupyterServices
    usage: StorageUsage
    parts: Assembly

    def __init__(
        self,
        data_dir: Path,
        make_launcher: Callable[[Path, FolderEvents], Launcher] = ProcessLauncher,
        image: str = "image",
    ) -> None:
        """`image`: of tasks that name none."""
        self.data_dir = data_dir
        self._make_launcher = make_launcher
        self._image = image
        self._instance_id: str | None = None
        data_dir.mkdir(mode=0o700)
        self.datasets_root = data_dir.with_name("datasets")
        self.workspaces = data_dir / "jupyter"

    @asynccontextmanager
    async def engine(
        self,
        *,
        private: bool = False,
        max_running: int = 4,
        prestage: bool = False,
        min_free_bytes: int = 0,
        gpu: int = 1,
        user_gpus: int = 0,
        user_queued: int = 0,
        user_queued_bytes: int = 0,
        user_running: int = 0,
        user_storage: int = 0,
        task_limits: TaskLimits | None = None,
        idle_ms: int = 0,
        has_containers: bool = True,
        has_datasets: bool = True,
        jupyter_command: tuple[str, ...] = (),
        volumes: Mapping[str, Volume] | None = None,
    ) -> AsyncIterator[Engine]:
        store = DuckDBStore(self.data_dir, time_zone=ZoneInfo("UTC"), min_free_bytes=min_free_bytes)
        limits = Limits(
            Resources(2, 8, gpu),
            max_running,
            600_000,
            "box",
            user_gpus=user_gpus,
            user_queued=user_queued,
            user_queued_bytes=user_queued_bytes,
            user_running=user_running,
            prestage=prestage,
        )
        async with FolderEvents() as watch:
            launcher = self._make_launcher(self.data_dir, watch)
            cache = DatasetCache(
                self.data_dir / "datasets", most_bytes=1 << 40, min_free_bytes=min_free_bytes
            )
            http = HttpOrigin(ADDRESSES, frozenset({"http"}))
            root = self.datasets_root if has_datasets else None
            restored = await store.open(
                recent_limit=RECENT, recent_bytes=RECENT_BYTES, on_fatal=_never
            )
            self._instance_id = restored.instance_id
            outside = Outside(
                store,
                restored,
                launcher,
                None,
                DatasetProvider(root, cache, {"http": http}, pause_seconds=0.01),
                SharedOwner(launcher.owner),
                watch,
            )
            options = Options(
                data_dir=self.data_dir,
                tasks_dir=self.data_dir,
                limits=limits,
                limits_with=lambda _: (limits, ()),
                rules=SubmissionRules(
                    Defaults(self._image, ("true",), task_limits or TaskLimits(), 0),
                    dataset_addresses=ADDRESSES,
                    volumes=volumes or {},
                ),
                runs=AttemptSettings(2_000, 1 << 20),
                snapshots=SnapshotOptions(
                    UnpackLimits(1 << 20, 100), keep_ms=60_000, private=private
                ),
                jupyter=JupyterOptions(
                    {"mapped": "real"},
                    idle_ms,
                    private=private,
                    has_containers=has_containers,
                    public_url="",
                    command=jupyter_command,
                ),
                workspaces=self.workspaces,
                private=private,
                zone=ZoneInfo("UTC"),
                user_storage_bytes=user_storage,
            )
            try:
                self.parts = parts = await assemble(outside, options)
                self.experiments, self.gpus = parts.experiments, parts.gpus
                self.snapshots, self.jupyter = parts.snapshots, parts.jupyter
                self.usage = parts.usage
                await parts.lifecycle.start()
                try:
                    async with self.jupyter.supervision.running():
                        try:
                            yield parts.engine
                        finally:
                            await parts.lifecycle.drain()
                finally:
                    await parts.lifecycle.close()
            finally:
                await store.close()

    async def clean(self) -> None:
        """End what the last engine left for a next one: there is none."""
        if self._instance_id is None:
            return
        async with FolderEvents() as watch:
            launcher = self._make_launcher(self.data_dir, watch)
            await launcher.open(self._instance_id, lambda _, __: None)
            await launcher.clean(frozenset())
            await launcher.close()


def _never(error: Exception) -> None:
    raise AssertionError("the store failed") from error


async def ended(engine: Engine, task_id: str, who: Principal = ADMIN) -> Task:
    """The task, once it has ended."""
    async with asyncio.timeout(SECONDS):
        async for _ in engine.logs.read(who, task_id, follow=True):
            pass
    task = await engine.tasks.get(who, task_id)
    assert task.status in ENDED
    return task


async def running(engine: Engine, task_id: str) -> None:
    """Returns when the task runs."""
    watch = engine.watches.watch(ADMIN, WatchFilter(task_id=task_id), snapshot=True)
    async with asyncio.timeout(SECONDS), contextlib.aclosing(watch) as updates:
        async for update in updates:
            if update.task is not None and update.task.status is Status.RUNNING:
                return


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    """Tasks are plain processes."""
    box = Box(tmp_path / "data")
    yield box
    await box.clean()


@pytest.fixture
async def containers_box(
    tmp_path: Path, docker_engine: DockerEngine, python_image: str
) -> AsyncIterator[Box]:
    def launcher(data_dir: Path, _: FolderEvents) -> Launcher:
        return DockerLauncher(data_dir, host=docker_engine.host, network="none")

    box = Box(tmp_path / "data", launcher, python_image)
    yield box
    await box.clean()


@pytest.fixture(params=["box", pytest.param("containers_box", marks=pytest.mark.docker)])
def each_box(request: pytest.FixtureRequest) -> Box:
    """One after the other: tasks are plain processes, and containers."""
    box: Box = request.getfixturevalue(request.param)
    return box
