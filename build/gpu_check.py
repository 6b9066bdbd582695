"""`make gpu-check`: what FetchML says of this machine's GPUs, against real CUDA programs.

No Docker: tasks are plain processes. Ends with 0 when all held, or there is no GPU to check; with 1
when something did not hold, or no GPU was free to check it on.
"""

import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fetchml.adapters.nvml.inventory import NvmlInventory
from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.core.gpus.allocator import Gpu, Obstacle, ObstacleKind
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.folder_events import FolderEvents
from fetchml.ports.launcher import LaunchSpec

SECONDS = 120
"""What a CUDA program gets to start: the first one on a large machine is slow."""
HELD_MB = 2048
"""More than the inventory takes for the driver's own."""

PROGRAM = """
import ctypes, json, signal, sys
cuda = ctypes.CDLL("libcuda.so.1")
def ask(name, *arguments):
    code = getattr(cuda, name)(*arguments)
    if code:
        raise SystemExit(f"{name} failed with {code}")
none = cuda.cuInit(0) == 100
count = ctypes.c_int(0)
if not none:
    ask("cuDeviceGetCount", ctypes.byref(count))
seen = []
for number in range(count.value):
    device, raw = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    ask("cuDeviceGet", ctypes.byref(device), number)
    ask("cuDeviceGetUuid_v2", raw, device)
    seen.append(bytes(raw).hex())
hold = int(sys.argv[1])
by = "libcuda"
if hold:
    try:
        import torch
    except ImportError:
        context, memory = ctypes.c_void_p(), ctypes.c_uint64()
        ask("cuCtxCreate_v2", ctypes.byref(context), 0, 0)
        ask("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(hold << 20))
    else:
        by = "torch " + torch.__version__
        held = torch.ones(hold << 20, dtype=torch.uint8, device="cuda")
        assert int(held[:1000].sum()) == 1000
print(json.dumps({"seen": seen, "by": by}), flush=True)
if hold:
    signal.pause()
"""


class Report:
    def __init__(self) -> None:
        self.failed = 0

    def check(self, what: str, holds: bool, found: object = "") -> None:
        self.failed += not holds
        print(
            f"{'ok    ' if holds else 'FAILED'} {what}{f': {found}' if found else ''}", flush=True
        )


class Tasks:
    """CUDA programs as tasks of the process launcher."""

    def __init__(self, data_dir: Path, launcher: ProcessLauncher, watch: FolderEvents) -> None:
        self.launcher = launcher
        self._data_dir = data_dir
        self._watch = watch
        self._begun = 0

    @asynccontextmanager
    async def running(
        self, *gpu_ids: str, hold_mb: int = 0
    ) -> AsyncIterator[tuple[LaunchSpec, dict[str, object]]]:
        """A task that has said what it sees; then it is ended."""
        self._begun += 1
        task_id = f"gpu-check-{self._begun}"
        run = LaunchSpec(
            task_id,
            1,
            job_name="gpu-check",
            folder=self._data_dir / "tasks" / task_id / "attempts/1",
            image="",
            argv=(sys.executable, "-c", PROGRAM, str(hold_mb)),
            env=library_path(),
            gpu_ids=gpu_ids,
            grace_ms=1000,
        )
        await self.launcher.prepare(run, lambda _: None)
        folder = AttemptFolder(run.folder)
        try:
            folder.open_gate()
            async with (
                asyncio.timeout(SECONDS),
                self._watch.subscribe(folder.run, writes=True) as changes,
            ):
                while not folder.tail().endswith(b"\n"):
                    await changes.wait()
            yield run, told(folder.tail())
        finally:
            await self.launcher.stop(run)
            await self.launcher.wait(run)
            await self.launcher.remove(run)


def library_path() -> dict[str, str]:
    """Where this machine has libcuda, if somebody had to say so: a task inherits nothing."""
    return {"LD_LIBRARY_PATH": path} if (path := os.environ.get("LD_LIBRARY_PATH")) else {}


def told(line: bytes) -> dict[str, object]:
    try:
        answer: dict[str, object] = json.loads(line)
    except ValueError:
        return {"seen": line.decode(errors="replace").strip(), "by": ""}
    return answer


def bytes_of(uuid: str) -> str:
    return uuid.partition("-")[2].replace("-", "")


def require_launcher(available: bool, message: str) -> None:
    if not available:
        raise SystemExit(message)


async def main() -> int:
    logging.basicConfig(level=logging.ERROR)  # Every task here is ours: nobody needs the warnings.
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        async with FolderEvents() as watch:
            launcher = ProcessLauncher(Path(folder), watch)
            inventory = NvmlInventory()
            await inventory.open(lambda _: None, launcher.owner_of)
            await launcher.open("gpu-check", require_launcher)
            try:
                await check(report, inventory, Tasks(Path(folder), launcher, watch))
            finally:
                await inventory.close()
                await launcher.close()
    return 1 if report.failed else 0


async def check(report: Report, inventory: NvmlInventory, tasks: Tasks) -> None:
    state = inventory.state
    if not state.gpus:
        why = state.problem or " ".join(state.notes) or "the driver tells of none"
        print(f"There is no NVIDIA GPU to check here: {why}. Nothing was checked.")
        return
    print(f"NVIDIA driver {state.driver}")
    for reading, gpu in zip(state.readings, state.gpus, strict=True):
        print(
            f"gpu {reading.index}: {gpu.name}, {gpu.memory_mb} MiB, {reading.used_mb} in use, "
            f"{reading.temperature_c} degrees, {gpu.uuid}: {gpu.blocked or 'free'}"
        )
    free = [gpu for gpu in state.gpus if gpu.blocked is None]
    report.check("a GPU is free to check the rest on", bool(free))
    if not free:
        return
    await exclusive(report, tasks, free)
    await held(report, inventory, tasks, free[0])
    await foreign(report, inventory, free[0])


async def exclusive(report: Report, tasks: Tasks, free: list[Gpu]) -> None:
    async with tasks.running() as (_, answer):
        report.check("a task without GPUs sees none", answer["seen"] == [], answer["seen"])
    for gpu in free:
        async with tasks.running(gpu.uuid) as (_, answer):
            same = answer["seen"] == [bytes_of(gpu.uuid)]
            report.check("a task sees its GPU and no other", same, answer["seen"])
    if len(free) > 1 and not any(gpu.parent for gpu in free):  # CUDA takes one MIG device at most
        async with tasks.running(free[1].uuid, free[0].uuid) as (_, answer):
            same = answer["seen"] == [bytes_of(free[1].uuid), bytes_of(free[0].uuid)]
            report.check("a task with two GPUs sees these two", same, answer["seen"])


async def held(report: Report, inventory: NvmlInventory, tasks: Tasks, gpu: Gpu) -> None:
    async with tasks.running(gpu.uuid, hold_mb=HELD_MB) as (run, answer):
        found = (await inventory.refresh()).readings
        reading = next(reading for reading in found if reading.uuid == gpu.uuid)
        owners = {process.task_id for process in reading.processes}
        ours = owners == {run.task_id}
        if reading.processes:
            report.check("a task's process is known as the task's", ours, answer["by"])
        else:
            print("note   the driver names no process here (as in a container): memory tells alone")
        before = reading.used_mb
        fault = (await inventory.check([gpu.uuid]))[gpu.uuid]
        report.check("a GPU that its task has not left is not given out", fault is not None, fault)
    began = time.monotonic()
    fault = (await inventory.check([gpu.uuid]))[gpu.uuid]
    took = (time.monotonic() - began) * 1000
    report.check("it is free when the task's processes are gone", fault is None, fault)
    reading = next(r for r in (await inventory.refresh()).readings if r.uuid == gpu.uuid)
    print(
        f"       checked in {took:.1f} ms; memory in use {before} MiB, then {reading.used_mb} MiB"
    )


async def foreign(report: Report, inventory: NvmlInventory, gpu: Gpu) -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpu.uuid}
    stranger = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(HELD_MB)),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert stranger.stdout is not None
        async with asyncio.timeout(SECONDS):
            await stranger.stdout.readline()
        blocked = await blocked_now(inventory, gpu)
        seen = blocked is not None and blocked.kind is ObstacleKind.BUSY
        report.check("a program that is no task of ours makes the GPU busy", seen, blocked)
    finally:
        with suppress(ProcessLookupError):
            stranger.kill()
        await stranger.communicate()
    fault = (await inventory.check([gpu.uuid]))[gpu.uuid]
    obstacle = fault or await blocked_now(inventory, gpu)
    report.check("and it is free when that has ended", obstacle is None, obstacle)


async def blocked_now(inventory: NvmlInventory, gpu: Gpu) -> Obstacle | None:
    gpus = (await inventory.refresh()).gpus
    return next(found.blocked for found in gpus if found.uuid == gpu.uuid)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
