"""A training on the processor that saves checkpoints: as a task, against the same script run
without FetchML.

The idle time of a GPU between two tasks is measured by `gpu_gap`, and with an environment by
`environments`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.client import Client, milliseconds
from benchmarks.figures import Benchmark, Figure, median
from benchmarks.processes import fetchml, scratch_folder

SCRIPT = Path(__file__).resolve().parent.parent / "examples/checkpoint/train.py"
TIMED = """
import runpy, sys, time
sys.argv = ["train.py", *sys.argv[1:]]
runpy.run_path("train.py", run_name="__main__")
print(time.process_time())
"""
STEPS = 6000
EVERY = 200
"""Steps between two checkpoints."""
ROUNDS = 7
ENDED_WITHIN_SECONDS = 60
TARGET_RATIO = 1.05


class _Run(NamedTuple):
    seconds: float
    processor_seconds: float


def run() -> Benchmark:
    pairs: list[tuple[_Run, _Run]] = []
    with (
        scratch_folder() as folder,
        fetchml(folder / "data") as server,
        Client(server.http) as client,
    ):
        snapshot = client.upload({"train.py": SCRIPT.read_bytes()})
        _as_task(client, snapshot)  # The first one reads files from the disk.
        for number in range(ROUNDS):
            # Each goes first in turn.
            if number % 2:
                bare = _bare(folder / f"bare{number}")
                pairs.append((_as_task(client, snapshot), bare))
            else:
                ours = _as_task(client, snapshot)
                pairs.append((ours, _bare(folder / f"bare{number}")))
    yield _figure("run time", [(ours.seconds, bare.seconds) for ours, bare in pairs])
    processor = [(ours.processor_seconds, bare.processor_seconds) for ours, bare in pairs]
    yield _figure("processor time", processor)


def _figure(what: str, pairs: Sequence[tuple[float, float]]) -> Figure:
    ratios = [ours / bare for ours, bare in pairs]
    ours, bare = (median(side) for side in zip(*pairs, strict=True))
    ratio = median(ratios)
    return Figure(
        f"training: {what} of {STEPS:,} steps, a line of log each, {STEPS // EVERY} checkpoints",
        "the same script without FetchML, its output in a file",
        f"{ratio:.3f} ({min(ratios):.2f} to {max(ratios):.2f}): {ours:.2f} against {bare:.2f} s",
        f"≤ {TARGET_RATIO:g}",
        ratio <= TARGET_RATIO,
    )


def _argv() -> list[str]:
    options = [f"--steps={STEPS}", f"--every={EVERY}", "--seconds=0"]
    return [sys.executable, "-c", TIMED, *options]


def _as_task(client: Client, snapshot: str) -> _Run:
    """From the command's start to its end, by the shim's clock."""
    request = {"job_name": "bench", "snapshot_id": snapshot, "command": _argv(), "checkpoint": True}
    task = client.finish(request, within_seconds=ENDED_WITHIN_SECONDS)
    took = milliseconds(task["started_at"], task["ended_at"]) / 1000
    return _Run(took, float(task["output"].split()[-1]))


def _bare(folder: Path) -> _Run:
    """From before the start of the process to its end."""
    folder.mkdir()
    (folder / "train.py").write_bytes(SCRIPT.read_bytes())
    places = {"FETCHML_CHECKPOINT": str(folder), "FETCHML_OUTPUTS": str(folder)}
    log = folder / "log"
    with log.open("w") as output:
        began = time.perf_counter()
        subprocess.run(_argv(), cwd=folder, env=os.environ | places, stdout=output, check=True)
        took = time.perf_counter() - began
    return _Run(took, float(log.read_text().split()[-1]))
