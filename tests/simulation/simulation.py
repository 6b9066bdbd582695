"""One simulated life of a machine: clients, a server that is killed now and then, and an oracle
that knows what was promised to the clients and what ran."""

import asyncio
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

from fetchml.attempts.manager import AttemptSettings
from fetchml.core import reactor
from fetchml.core.model import ENDED, FailureReason, Principal, Resources, Role, Status, Task
from fetchml.core.requests.submission import Defaults, SubmissionRules, TaskLimits
from fetchml.core.state import Limits
from fetchml.datasets.cache import DatasetCache
from fetchml.datasets.provider import DatasetProvider
from fetchml.engine.task_index import RECENT
from fetchml.errors import Conflict, DiskFull, Unavailable
from fetchml.files.task_users import SharedOwner
from fetchml.jupyter.jupyter_service import JupyterOptions
from fetchml.server.assembled import Assembly
from fetchml.server.assembly import Options, Outside, assemble
from fetchml.snapshots.snapshot_service import SnapshotOptions
from fetchml.snapshots.unpack import UnpackLimits
from fetchml.system.clock import Clock
from fetchml.views import UpdateType, WatchFilter
from tests.simulation.simulated_loop import Crash, InlineExecutor, SimulatedLoop, World
from tests.simulation.simulated_parts import (
    Machine,
    SimulatedLauncher,
    SimulatedStore,
    SimulatedWatch,
)
from tests.support import invariants

CAPACITY = {"cpu": 8, "memory_gb": 32, "gpu": 4}
ADMIN = Principal("root", Role.ADMIN, "key-r")
USERS = [Principal(name, Role.USER, f"key-{name}") for name in ("ann", "bob", "eve")]
OPERATIONS = 40
LONGEST_SECONDS = 30 * 86_400
"""After so long all tasks have ended, unless one hangs."""
KEPT: list[object] = []
"""What a killed server leaves in memory: nothing of it may run again, not even its `finally`."""


@dataclass
class Wish:
    """What a client wants until the server has confirmed it."""

    key: str
    who: Principal
    request: Mapping[str, Any]
    is_sweep: bool = False
    ids: list[str] = field(default_factory=list)
    """Of the tasks, once they are confirmed."""


class Simulation:
    def __init__(self, seed: int, folder: Path) -> None:
        self.world = World(seed)
        self.random = self.world.random
        self.folder = folder
        self.store = SimulatedStore(self.world)
        self.machine = Machine(self.world, self.store, CAPACITY)
        self.limits = Limits(
            Resources(CAPACITY["cpu"], CAPACITY["memory_gb"], CAPACITY["gpu"]),
            max_running=self.random.choice([1, 3, 8]),
            reserve_after_ms=60_000,
            worker_id="box",
            user_gpus=self.random.choice([0, 2, 3]),
            user_running=self.random.choice([0, 2]),
            preemption=self.random.random() < 0.5,
            prestage=self.random.random() < 0.5,
        )
        self.wishes: list[Wish] = []
        self.cancelled: set[str] = set()
        """Ids of tasks that some client wanted to cancel."""
        self.seen_seq: int | None = None
        """The last message that the watcher has read."""
        self.seen: dict[str, Status] = {}
        """What the watcher believes."""
        self.lives = 0
        self.most_lives = self.random.randint(1, 8)

    def run(self) -> None:
        """Raises AssertionError."""
        with self._simulated():
            while self._live():
                pass
        self._check_end()

    def _simulated(self) -> ExitStack:
        world, stack = self.world, ExitStack()
        clock = partial(Clock, wall_ns=lambda: world.now_ns, steady_ns=lambda: world.now_ns)
        for name, value in (
            ("fetchml.server.assembly.Clock", clock),
            ("fetchml.attempts.attempt_end.time.monotonic", lambda: world.now),
            ("fetchml.system.threads.ThreadPoolExecutor", InlineExecutor),
            ("fetchml.system.ids.os.urandom", self.random.randbytes),
            ("fetchml.engine.dispatcher.step", self._checked_step),
        ):
            stack.enter_context(patch(name, value))
        return stack

    def _checked_step(self, state: Any, event: Any) -> Any:
        decision = reactor.step(state, event)
        invariants.check(state)
        return decision

    def _live(self) -> bool:
        """Run a server until it is killed, or nothing is left to do. Return whether it was
        killed."""
        self.lives += 1
        loop = SimulatedLoop(self.world)
        last = self.lives == self.most_lives
        self.world.crash_after = None if last else int(self.random.random() ** 2 * 4_000)
        main = loop.create_task(self._serve())
        try:
            loop.run_until_complete(main)
        except Crash:
            KEPT.extend([loop, *asyncio.all_tasks(loop)])
            for task in asyncio.all_tasks(loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            self.store.killed()
            self.machine.killed()
            if self.random.random() < 0.2:
                self.machine.lose_all()
            self.machine.is_available = True
            return True
        loop.close()
        return False

    async def _serve(self) -> None:
        launcher = SimulatedLauncher(self.world, self.machine)
        launcher.faults = self.random.choice([0.0, 0.1, 0.4])
        watch: Any = SimulatedWatch(self.machine)
        cache = DatasetCache(self.folder / "datasets", most_bytes=1 << 40, min_free_bytes=0)
        restored = await self.store.open(recent_limit=RECENT, on_fatal=_never)
        datasets = DatasetProvider(self.folder, cache, {})
        owners = SharedOwner(launcher.owner)
        simulated: Any = launcher
        outside = Outside(self.store, restored, simulated, None, datasets, owners, watch)
        parts = await assemble(outside, self._options())
        await parts.lifecycle.start()
        following = asyncio.create_task(self._watch(parts))
        faults = asyncio.create_task(self._faults())
        await self._clients(parts)
        faults.cancel()
        self._recover(launcher)
        await self._all_ended(parts)
        await self._watched_all(parts)
        following.cancel()
        await asyncio.gather(following, faults, return_exceptions=True)
        await parts.lifecycle.drain()
        await parts.lifecycle.close()

    def _options(self) -> Options:
        return Options(
            data_dir=self.folder,
            tasks_dir=self.folder,
            limits=self.limits,
            limits_with=lambda _: (self.limits, ()),
            rules=SubmissionRules(Defaults("image", ("sim", "1", "0"), TaskLimits(), 0)),
            runs=AttemptSettings(2_000, 1 << 20),
            snapshots=SnapshotOptions(UnpackLimits(1, 1), keep_ms=60_000, private=False),
            jupyter=JupyterOptions({}, 0, private=False, has_containers=False, public_url=""),
            workspaces=self.folder / "jupyter",
            private=False,
            zone=ZoneInfo("UTC"),
            user_storage_bytes=0,
            samples=False,
            reads_metrics=False,
        )

    # What happens to the server.

    async def _faults(self) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / 60))
            match self.random.randrange(5):
                case 0:
                    self.store.is_full = not self.store.is_full
                case 1:
                    self.machine.set_available(not self.machine.is_available)
                case 2:
                    self.machine.lose_all()
                case _:
                    if self.machine.shims:
                        self.machine.gone(self.random.choice(sorted(self.machine.shims)))

    def _recover(self, launcher: SimulatedLauncher) -> None:
        self.world.crash_after = None
        self.store.is_full = False
        launcher.faults = 0.0
        if not self.machine.is_available:
            self.machine.set_available(True)

    # What clients do.

    async def _clients(self, parts: Assembly) -> None:
        """Ask again for what is not confirmed, and for more."""
        for wish in self.wishes:
            if not wish.ids:
                await self._ask(partial(self._submit, parts, wish))
        while len(self.wishes) < OPERATIONS:
            await asyncio.sleep(self.world.pause(20))
            work = self.random.choice([self._new_wish, self._new_wish, self._change])
            await self._ask(partial(work, parts))

    async def _ask(self, work: Callable[[], Awaitable[object]]) -> None:
        """A request that the server cannot serve now is asked again later."""
        while True:
            try:
                await work()
            except (DiskFull, Unavailable):
                await asyncio.sleep(30)
            except Conflict:  # The task has gone on.
                return
            else:
                return

    async def _new_wish(self, parts: Assembly) -> None:
        number = len(self.wishes)
        is_sweep = self.random.random() < 0.2
        wish = Wish(f"wish-{number}", self.random.choice(USERS), self._request(number), is_sweep)
        self.wishes.append(wish)
        await self._submit(parts, wish)

    def _request(self, number: int) -> dict[str, Any]:
        draw = self.random
        request: dict[str, Any] = {
            "job_name": f"job-{number}",
            "command": [
                "sim",
                str(round(draw.expovariate(1 / 40), 3)),
                str(int(draw.random() < 0.2)),
            ],
            "cpu": draw.choice([1, 2, 4]),
            "memory_gb": draw.choice([1, 8]),
            "gpu": draw.choice([0, 0, 1, 2]),
            "priority": draw.randint(1, 10),
            "max_retries": draw.choice([0, 0, 2]),
            "preemptible": draw.random() < 0.4,
        }
        if draw.random() < 0.1:
            request["hold"] = True
        if draw.random() < 0.2:
            request["timeout_seconds"] = draw.choice([5, 60])
        confirmed = [wish for wish in self.wishes if wish.ids and not wish.is_sweep]
        if confirmed and draw.random() < 0.3:
            condition = draw.choice(["completed", "failed", "ended"])
            first = draw.choice(confirmed).ids[0]
            request["after"] = [{"task_id": first, "condition": condition}]
        return request

    async def _submit(self, parts: Assembly, wish: Wish) -> None:
        if wish.is_sweep:
            request = {
                "name": wish.request["job_name"],
                "task": wish.request,
                "parameters": {"lr": {"values": [1, 2, 3]}},
                "max_parallel": 2,
            }
            await parts.engine.sweeps.create(wish.who, request, wish.key)
            wish.ids = ["of a sweep"]
            return
        task = await parts.engine.submissions.create_task(wish.who, wish.request, wish.key)
        wish.ids = [task.id]

    async def _change(self, parts: Assembly) -> None:
        live = [task for task in self.store.tasks.values() if task.status not in ENDED]
        if not live:
            return
        task, changes = self.random.choice(live), parts.engine.changes
        match self.random.randrange(5):
            case 0:
                self.cancelled.add(task.id)
                await changes.cancel(ADMIN, task.id)
            case 1:
                await changes.interrupt(ADMIN, task.id)
            case 2:
                await changes.update(ADMIN, task.id, {"priority": self.random.randint(1, 10)})
            case 3:
                await changes.update(ADMIN, task.id, {"hold": self.random.random() < 0.3})
            case 4:
                await changes.update(ADMIN, task.id, {"timeout_seconds": 90})

    async def _all_ended(self, parts: Assembly) -> None:
        """Return when all tasks have ended: those on hold are released."""
        until = self.world.now + LONGEST_SECONDS
        while live := [task for task in self.store.tasks.values() if task.status not in ENDED]:
            assert self.world.now < until, f"they do not end: {[_shown(task) for task in live]}"
            for task in live:
                if task.spec.hold:
                    await self._ask(
                        partial(parts.engine.changes.update, ADMIN, task.id, {"hold": False})
                    )
            await asyncio.sleep(60)
        # What is left of the last attempts is removed.
        while self.machine.shims:
            assert self.world.now < until, f"left over: {sorted(self.machine.shims)}"
            await asyncio.sleep(60)

    # What is seen from outside.

    async def _watch(self, parts: Assembly) -> None:
        """Follow all tasks, from where the watch of the earlier server ended."""
        since = self.seen_seq
        watch = parts.engine.watches.watch(ADMIN, WatchFilter(), since, snapshot=since is None)
        async for update in watch:
            if update.type is UpdateType.RESYNC:
                self.seen = {task.id: task.status for task in self.store.tasks.values()}
            elif update.task is not None:
                before = self.seen_seq
                is_next = (
                    update.type is UpdateType.SNAPSHOT or before is None or update.seq > before
                )
                assert is_next, f"message {update.seq} comes after {before}"
                assert self.seen.get(update.task.id) not in ENDED, f"{update.task.id} has ended"
                stored = self.store.tasks.get(update.task.id)
                assert stored is not None, f"{update.task.id} is not durable, and was seen"
                self.seen[update.task.id] = update.task.status
            self.seen_seq = update.seq

    async def _watched_all(self, parts: Assembly) -> None:
        until = self.world.now + 600
        while any(self.seen.get(task.id) != task.status for task in self.store.tasks.values()):
            assert self.world.now < until, "the watcher has missed an end"
            await asyncio.sleep(1)

    def _check_end(self) -> None:
        tasks = self.store.tasks
        by_name: dict[str, list[Task]] = {}
        for task in tasks.values():
            by_name.setdefault(task.spec.job_name, []).append(task)
        for wish in self.wishes:
            made = by_name.get(wish.request["job_name"], [])
            most = 3 if wish.is_sweep else 1
            assert len(made) <= most, f"{wish.key}: {len(made)} tasks of one request"
            if wish.ids:
                assert len(made) == most, f"{wish.key}: {len(made)} of {most} confirmed tasks"
                assert wish.is_sweep or made[0].id == wish.ids[0], f"{wish.key}: another task"
        for task in tasks.values():
            self._check_task(task)
        assert not self.machine.shims
        assert not self.machine.commands

    def _check_task(self, task: Task) -> None:
        begun = {number for task_id, number in self.machine.begun if task_id == task.id}
        assert all(number <= task.attempt for number in begun), f"{_shown(task)}: ran {begun}"
        spec, code = task.spec, int(task.spec.command[2])
        if task.status is Status.COMPLETED:
            assert code == 0, f"{_shown(task)}: its command failed"
            assert task.attempt in begun, f"{_shown(task)}: it never ran"
            return
        reasons = {
            FailureReason.EXIT_CODE: code != 0 and task.retry_count == spec.max_retries,
            FailureReason.CANCELLED: task.id in self.cancelled,
            FailureReason.TIMEOUT: spec.timeout_seconds > 0,
            FailureReason.DEPENDENCY_FAILED: bool(spec.after),
            FailureReason.PREPARE_FAILED: True,
            FailureReason.LOST: bool(begun),
        }
        assert task.failure_reason is not None
        assert reasons.get(task.failure_reason), f"{_shown(task)}: no reason to fail"


def _shown(task: Task) -> str:
    return f"{task.id} {task.status} attempt {task.attempt} {task.failure_reason} {task.error}"


def _never(error: Exception) -> None:
    raise AssertionError("the store failed") from error


def simulate(seed: int) -> Simulation:
    """Raises AssertionError, with what is wrong."""
    logging.disable(logging.CRITICAL)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108
    with tempfile.TemporaryDirectory(prefix="simulation-", dir=memory) as folder:
        simulation = Simulation(seed, Path(folder))
        simulation.run()
    return simulation


def run_apart(seed: int) -> str | None:
    """Simulate in a process of its own. Return what is wrong, if anything is."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            simulate(seed)
            fault = ""
        except BaseException as error:  # noqa: BLE001 - reported
            fault = f"{type(error).__name__}: {error}"
            if os.environ.get("SIMULATION_TRACE"):
                import traceback  # noqa: PLC0415

                fault = traceback.format_exc()
        os.write(writing, fault.encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        fault = told.read().decode()
    os.waitpid(child, 0)
    return fault or None
