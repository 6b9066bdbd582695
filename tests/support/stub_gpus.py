"""The real `Gpus` and the real core, over an inventory that is what a test says."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from fetchml.attempts.hosts import ThisHost
from fetchml.auth.audit import Audit
from fetchml.core.events import Event, LauncherChanged, Recovered, Submitted
from fetchml.core.gpus.allocator import Obstacle
from fetchml.core.gpus.health import GpuProcess, GpuReading, derive
from fetchml.core.model import Resources, Task
from fetchml.core.packing import LearnedPeaks, Packing
from fetchml.core.reactor import step
from fetchml.core.scheduling.resources import PackingRule
from fetchml.core.state import Limits, State
from fetchml.engine.gpus.gpus import Gpus
from fetchml.ports.gpu import GpuState, OwnerOf
from tests.support import invariants
from tests.support.tasks import task

START_MS = 1_760_000_000_000
OWNER = "user"
"""Of the tasks that have GPUs: the name of the world's user."""


def reading(number: int, **about: Any) -> GpuReading:
    """An idle GPU."""
    usual = GpuReading(
        uuid=f"GPU-{number}000",
        name="NVIDIA H100",
        index=str(number),
        position=number,
        memory_mb=81_920,
        used_mb=600,
        temperature_c=31 + number,
        utilisation_percent=0,
    )
    return replace(usual, **about)


@dataclass
class StubInventory:
    state: GpuState = field(default_factory=GpuState)
    forgiven: list[str] = field(default_factory=list)

    async def open(self, on_change: Callable[[GpuState], None], owner_of: OwnerOf) -> None:
        self._on_change = on_change
        on_change(self.state)

    def see(self, *readings: GpuReading, **about: Any) -> None:
        self.state = GpuState(readings, tuple(derive(each, 600) for each in readings), **about)
        self._on_change(self.state)

    async def refresh(self) -> GpuState:
        return self.state

    async def check(
        self, uuids: Sequence[str], holders: Collection[str] = ()
    ) -> Mapping[str, Obstacle | None]:
        return dict.fromkeys(uuids)

    def forgive(self, uuid: str) -> None:
        self.forgiven.append(uuid)

    async def close(self) -> None: ...


class GpuBox:
    def __init__(self, store: Any, audit: Audit, *, private: bool) -> None:
        self.outputs: dict[str, str] = {}
        """The last part of each task's log."""
        self.inventory = StubInventory(GpuState(driver="570.86.10"))
        self.state = State(Limits(Resources(64, 256), 64, 600_000, "box"))
        self.gpus = Gpus(
            store,
            self.state,
            audit,
            ThisHost(),
            self.inventory,
            report=self.report,
            owner_of=lambda _: None,
            output=self._output,
            clock=lambda: START_MS,
            private=private,
        )

    async def _output(self, task: Task) -> str | None:
        return self.outputs.get(task.id)

    def see(self, *readings: GpuReading, **about: Any) -> None:
        self.inventory.see(*readings, **about)

    def pack(self, slots: int = 2) -> LearnedPeaks:
        """Let tasks share GPUs by these peaks of GPU memory."""
        packing = Packing(PackingRule(margin_percent=10))
        self.state.pack(packing)
        self.state.gpus.slots_per_gpu = slots
        return packing.peaks

    def run(self, task_id: str, *, gpu: int = 1, user: str = OWNER) -> tuple[str, ...]:
        """The GPUs that the task is given."""
        submitted = task(task_id, user=user, created_at=START_MS, job_name="train", gpu=gpu)
        self.report(Submitted(START_MS, [submitted]))
        return self.state.tasks[task_id].gpu_uuids

    def report(self, event: Event) -> asyncio.Future[None]:
        step(self.state, event)
        invariants.check(self.state)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


async def gpu_box(store: Any, audit: Audit, *, private: bool = False) -> GpuBox:
    """A box without GPUs, until a test says what there is."""
    box = GpuBox(store, audit, private=private)
    box.report(Recovered(START_MS))
    box.report(LauncherChanged(START_MS, available=True))
    await box.gpus.start()
    box.gpus.owners_known()
    return box


def stranger(pid: int = 4711, mb: int = 2150) -> GpuProcess:
    return GpuProcess(pid, "python3", mb)
