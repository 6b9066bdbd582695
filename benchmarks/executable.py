"""The executable against this environment's own program: start, memory, what it costs idle."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, median
from benchmarks.processes import fetchml, scratch_folder

PROGRAM = Path(__file__).resolve().parent.parent / "build/dist/fetchml"
ROUNDS = 7
IDLE_SECONDS = 20
MAX_BYTES = 130_000_000
MAX_START_RATIO = 1.5
MAX_IDLE = 0.005


def run() -> Benchmark:
    if not PROGRAM.exists():
        raise RuntimeError(f"{PROGRAM} is missing: run make build")
    own = [sys.executable, "-m", "fetchml"]
    starts = [(_start([str(PROGRAM)]), _start(own)) for _ in range(ROUNDS)]
    executable, venv = (median(side) for side in zip(*starts, strict=True))
    ratio = median([ours / floor for ours, floor in starts])
    yield Figure(
        "The executable: start to the first /health",
        "the same program in a virtual environment",
        f"{ratio:.2f}: {executable:.2f} s against {venv:.2f} s",
        f"≤ {MAX_START_RATIO}",
        ratio <= MAX_START_RATIO,
    )
    size = PROGRAM.stat().st_size
    yield Figure(
        "The executable: size",
        "-",
        f"{size / 1e6:.0f} MB",
        f"< {MAX_BYTES / 1e6:.0f} MB",
        size < MAX_BYTES,
    )
    idle, memory = _idle([str(PROGRAM)])
    venv_idle, venv_memory = _idle(own)
    yield Figure(
        "The executable, idle: CPU of one core",
        "the same program in a virtual environment",
        f"{idle:.2%} against {venv_idle:.2%}",
        f"< {MAX_IDLE:.1%}",
        idle < MAX_IDLE,
    )
    yield Figure(
        "The executable, idle: memory (RSS of both processes)",
        "the same program in a virtual environment",
        f"{memory >> 20} MiB against {venv_memory >> 20} MiB",
        "≤ 1.2",
        memory <= 1.2 * venv_memory,
    )


def _start(program: Sequence[str]) -> float:
    """Seconds to the first answer, on a data directory of its own, with warm files."""
    with scratch_folder() as folder:
        began = time.perf_counter()
        with fetchml(folder / "data", program=program) as server:
            with Client(server.http) as client:
                client.ask("GET", "/health")
            return time.perf_counter() - began


def _idle(program: Sequence[str]) -> tuple[float, int]:
    """The part of a core that it uses, and bytes of memory, of all its processes."""
    with scratch_folder() as folder, fetchml(folder / "data", program=program) as server:
        time.sleep(IDLE_SECONDS / 4)
        before = server.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        return (server.cpu_seconds() - before) / IDLE_SECONDS, server.memory_bytes()
