"""The store, the engine of containers and the watch on files, as the server has them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fetchml.core.audit import AuditEntry
from fetchml.core.model import HOLDING, Change
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.folder_events import Changes
from fetchml.ports.launcher import AttemptExit, LaunchSpec, Owner, PrepareError
from fetchml.ports.store import Document
from tests.simulation.simulated_loop import World
from tests.support.memory_store import MemoryStore

Attempt = tuple[str, int]


class SimulatedStore(MemoryStore):
    """A disk. What is appended is durable with the next commit; when the server is killed, a part
    of what is under way is durable, and the rest was never there."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._pending: list[tuple[Callable[[], None], asyncio.Future[None]]] = []
        self.is_full = False

    def append(
        self,
        changes: Sequence[Change],
        *,
        followed: bool = False,
        documents: Sequence[Document] = (),
        encoded: Sequence[str] = (),
    ) -> asyncio.Future[None]:
        changes, documents = list(changes), list(documents)
        append = super().append
        return self._later(lambda: append(changes, documents=documents))

    def append_audit(self, entry: AuditEntry) -> asyncio.Future[None]:
        return self._later(lambda: self.audit.append(entry))

    async def put_document(self, kind: str, document_id: str, data: bytes) -> None:
        await self._later(lambda: self.documents.__setitem__((kind, document_id), data))

    async def delete_document(self, kind: str, document_id: str) -> None:
        await self._later(lambda: self.documents.pop((kind, document_id), None))

    def has_room(self) -> bool:
        return not self.is_full

    def _later(self, write: Callable[[], object]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._pending.append((lambda: _call(write), done))
        if len(self._pending) == 1:
            loop.call_later(self._world.pause(0.2), self._commit)
        return done

    def _commit(self) -> None:
        batch, self._pending = self._pending, []
        for write, done in batch:
            write()
            if not done.done():
                done.set_result(None)

    def killed(self) -> None:
        """The server was: nobody hears of what is durable now."""
        self._listeners.clear()
        durable = self._world.random.randint(0, len(self._pending))
        self._pending, batch = [], self._pending[:durable]
        loop = asyncio.new_event_loop()  # The writes make futures, which nobody has.

        async def write_all() -> None:
            for write, _ in batch:
                write()

        loop.run_until_complete(write_all())
        loop.close()


def _call(write: Callable[[], object]) -> None:
    write()


class Machine:
    """Shims and their commands, which live on when the server is killed; and the outside oracle of
    what ran. A command is `sim SECONDS EXIT_CODE`."""

    def __init__(self, world: World, store: SimulatedStore, capacity: dict[str, int]) -> None:
        self._world = world
        self._store = store
        self._capacity = capacity
        self.shims: dict[Attempt, LaunchSpec] = {}
        self.commands: dict[Attempt, LaunchSpec] = {}
        """Those that run."""
        self.begun: set[Attempt] = set()
        self.is_available = True
        self.on_available: Callable[[bool, str], None] = lambda _, __: None
        self._waiters: list[asyncio.Event] = []

    def create(self, spec: LaunchSpec) -> None:
        """Start a shim, which waits at its gate."""
        key = spec.task_id, spec.attempt
        if key not in self.shims and AttemptFolder(spec.folder).claim() is None:
            AttemptFolder(spec.folder).create(os.geteuid(), os.getegid())
            self.shims[key] = spec
            gate = str(AttemptFolder(spec.folder).run / "open")
            self._world.after(self._world.pause(0.2), lambda: self._look_at_gate(key, gate))

    def _look_at_gate(self, key: Attempt, gate: str) -> None:
        spec = self.shims.get(key)
        if spec is None:
            return
        if not os.path.exists(gate):  # noqa: PTH110 - it is looked for very often
            self._world.after(0.5, lambda: self._look_at_gate(key, gate))
            return
        run = AttemptFolder(spec.folder).run
        try:
            with (run / "claim").open("x") as claim:
                claim.write("pid=7\nstarttime=1\nboot_id=x\n")
        except OSError:  # The server has revoked the attempt.
            self.gone(key)
            return
        self._check(key, spec)
        self.begun.add(key)
        self.commands[key] = spec
        (run / "started").write_text(f"at_ms={self._world.now_ms}\npid=8\n")
        self.changed()
        seconds, code = float(spec.argv[1]), int(spec.argv[2])
        self._world.after(seconds, lambda: self.end(key, f"code={code}"))

    def _check(self, key: Attempt, spec: LaunchSpec) -> None:
        assert key not in self.begun, f"{key} runs twice"
        task = self._store.tasks[spec.task_id]
        decided = task.status in HOLDING and not task.prestaged and task.attempt == spec.attempt
        assert decided, f"{key} runs, and that is not durable: {task.status} {task.attempt}"
        others = [each for each in self.commands.values() if each.task_id == spec.task_id]
        assert not others, f"two attempts of {spec.task_id} run at once"
        running = [*self.commands.values(), spec]
        used = {
            "cpu": sum(each.cpu for each in running),
            "memory_gb": sum(each.memory_gb for each in running),
            "gpu": sum(each.gpu for each in running),
        }
        for name, number in used.items():
            assert number <= self._capacity[name], f"{number} of {name} are used"
        gpus = [uuid for each in running for uuid in each.gpu_ids]
        assert len(gpus) == len(set(gpus)), f"a GPU has two tasks: {gpus}"

    def end(self, key: Attempt, how: str) -> None:
        """The command of an attempt ends, if it has not yet."""
        spec = self.commands.pop(key, None)
        if spec is not None:
            record = f"at_ms={self._world.now_ms}\n{how}\n"
            (AttemptFolder(spec.folder).run / "exit").write_text(record)
            self.gone(key)

    def gone(self, key: Attempt) -> None:
        """No process of the attempt is left."""
        self.commands.pop(key, None)
        self.shims.pop(key, None)
        self.changed()

    def lose_all(self) -> None:
        """The machine is switched off and on."""
        for key in list(self.shims):
            self.gone(key)

    def set_available(self, is_available: bool) -> None:
        self.is_available = is_available
        self.on_available(is_available, "it answers" if is_available else "it does not answer")
        self.changed()

    def changed(self) -> None:
        for each in self._waiters:
            each.set()

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[asyncio.Event]:
        event = asyncio.Event()
        self._waiters.append(event)
        try:
            yield event
        finally:
            self._waiters.remove(event)

    def killed(self) -> None:
        """The server was."""
        self._waiters.clear()
        self.on_available = lambda _, __: None


class SimulatedLauncher:
    """Keeps to `ports.launcher`. Requests take their time, fail, and are carried out although they
    fail."""

    name = "simulated"
    owner: Owner = (os.geteuid(), os.getegid())

    def __init__(self, world: World, machine: Machine) -> None:
        self._world = world
        self._machine = machine
        self.faults = 0.1
        """Part of the requests that fail."""

    async def open(self, instance_id: str, on_available: Callable[[bool, str], None]) -> None:
        self._machine.on_available = on_available
        on_available(self._machine.is_available, "")

    async def clean(self, live: frozenset[Attempt]) -> None:
        for key in self._machine.shims.keys() - live:
            self._machine.gone(key)

    async def prepare(self, spec: LaunchSpec, progress: Callable[[str], None]) -> None:
        await self._until_available()
        await self._takes(2.0)
        fault = self._world.random.random() if self._world.random.random() < self.faults else 1.0
        if fault < 0.3:
            raise PrepareError("there is no such image", permanent=True)
        if fault < 0.6:
            raise PrepareError("no answer", permanent=False)
        self._machine.create(spec)
        await self._takes(0.5)
        if fault < 0.9:
            raise PrepareError("the answer is lost", permanent=False)

    async def wait(self, spec: LaunchSpec) -> AttemptExit:
        key, folder = (spec.task_id, spec.attempt), AttemptFolder(spec.folder)
        async with self._machine.changes() as changed:
            while key in self._machine.shims:
                await changed.wait()
                changed.clear()
        await self._takes(1.0)
        claim = folder.claim()
        if claim is None or claim.revoked or folder.end() is not None:
            return AttemptExit()
        return AttemptExit(lost="the machine was switched off")

    async def warn(self, spec: LaunchSpec) -> None: ...

    async def stop(self, spec: LaunchSpec) -> None:
        key = spec.task_id, spec.attempt
        if key in self._machine.commands:
            self._world.after(self._world.pause(5), lambda: self._end(key, "signal=15\nstopped=1"))
        else:
            self._machine.gone(key)

    async def kill(self, spec: LaunchSpec) -> None:
        await self._takes(0.5)
        self._end((spec.task_id, spec.attempt), "signal=9\nstopped=1")
        self._machine.gone((spec.task_id, spec.attempt))

    def _end(self, key: Attempt, how: str) -> None:
        self._machine.end(key, how)

    async def usage(self, specs: Sequence[LaunchSpec]) -> list[None]:
        return [None for _ in specs]

    async def enter(self, spec: LaunchSpec, command: object) -> Any:
        raise NotImplementedError

    async def remove(self, spec: LaunchSpec) -> None:
        await self._until_available()
        await self._takes(0.5)
        self._machine.gone((spec.task_id, spec.attempt))

    def owner_of(self, pid: int) -> str | None:
        return None

    async def close(self) -> None:
        self._machine.on_available = lambda _, __: None

    async def _takes(self, longest: float) -> None:
        await asyncio.sleep(self._world.pause(longest))

    async def _until_available(self) -> None:
        async with self._machine.changes() as changed:
            while not self._machine.is_available:
                await changed.wait()
                changed.clear()


class SimulatedWatch:
    """A watch on files that sees every change of the machine, and looks again now and then."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @asynccontextmanager
    async def subscribe(self, folder: Path, *, writes: bool = False) -> AsyncIterator[Changes]:
        changes = Changes()

        async def wake() -> None:
            async with self._machine.changes() as changed:
                while True:
                    await changed.wait()
                    changed.clear()
                    changes.wake()

        waking = asyncio.create_task(wake())
        try:
            yield changes
        finally:
            waking.cancel()
