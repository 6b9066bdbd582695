"""`python -m benchmarks.trace`: ten thousand tasks of a generated trace on eight GPUs, in simulated
time, under three schedulers.

The trace has the shape of a public one: the GPU jobs of Helios (SenseTime; HeliosData, SC '21),
cluster Earth: the median job asks for 1 GPU, the mean is 2.1; the median run takes 234 s, the mean
5,131 s. Taken from that: sizes of 1, 2, 4 and 8 GPUs with that mean, log-normal run times with that
median and mean. Of our own making: at most 48 h a run, users of whom few submit most, sweeps (a
burst of like tasks), a rhythm of day and night, and as many tasks as make the load asked for.
"""

import argparse
import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from math import log, pi, sin, sqrt
from statistics import mean, median
from typing import NamedTuple

from fetchml.core.model import Resources, Task, TaskSpec
from fetchml.core.scheduling.shares import Shares
from fetchml.core.state import Limits
from testbed.simulated_box import SimulatedBox

TASKS = 10_000
GPUS = 8
SIZES = {1: 0.70, 2: 0.11, 4: 0.09, 8: 0.10}
MEDIAN_SECONDS, MEAN_SECONDS = 234.0, 5130.6
LONGEST_SECONDS = 48 * 3600
USERS = 40
SWEEP = 4
"""Tasks of a burst, on average."""
DAY_MS = 86_400_000
HALF_LIFE_MS = DAY_MS
RESERVE_AFTER_MS = (600_000, 86_400_000)
"""The default first."""


class Trace(NamedTuple):
    tasks: list[Task]
    run_ms: dict[str, int]


class Outcome(NamedTuple):
    name: str
    started: dict[str, int]


def generate(seed: int, load: float, count: int = TASKS) -> Trace:
    """`load`: GPU time asked for, as a part of what the box has until the last submission."""
    rng = random.Random(seed)
    sigma = sqrt(2 * log(MEAN_SECONDS / MEDIAN_SECONDS))
    specs: list[tuple[str, int, int]] = []
    sizes, chances = list(SIZES), list(SIZES.values())
    while len(specs) < count:
        user = f"user{int(USERS * rng.random() ** 3)}"
        gpu = rng.choices(sizes, chances)[0]
        middle = rng.lognormvariate(log(MEDIAN_SECONDS), sigma * 0.9)
        for _ in range(1 + int(rng.expovariate(1 / (SWEEP - 1)))):
            seconds = middle * rng.lognormvariate(0, sigma * sqrt(1 - 0.9**2))
            specs.append((user, gpu, int(1000 * min(LONGEST_SECONDS, max(1, seconds)))))
    del specs[count:]
    work = sum(gpu * run for _, gpu, run in specs)
    span = work / (GPUS * load)
    times = [0.0]
    for before, after in pairwise(specs):
        rhythm = 1 + 0.8 * sin(2 * pi * times[-1] / DAY_MS)
        in_sweep = before[:2] == after[:2]
        pause = 1000.0 if in_sweep else rng.expovariate(count / (SWEEP * span)) / rhythm
        times.append(times[-1] + pause)
    tasks, run_ms = [], {}
    for number, ((user, gpu, run), at) in enumerate(zip(specs, times, strict=True)):
        spec = TaskSpec("job", "image", ("run",), gpu=gpu)
        task = Task(f"t{number:06}", user, spec, int(at * span / times[-1]))
        tasks.append(task)
        run_ms[task.id] = run
    return Trace(tasks, run_ms)


def fifo(trace: Trace) -> Outcome:
    """In the order of submission: who does not fit blocks all behind."""
    queue: deque[Task] = deque()
    return Outcome("FIFO", _blocking(trace, queue.append, lambda _: queue, _nothing, _nothing))


def without_backfill(trace: Trace) -> Outcome:
    """FetchML's order, fair shares and then age; who is first and does not fit blocks all."""
    shares = Shares(HALF_LIFE_MS)
    by_user: defaultdict[str, deque[Task]] = defaultdict(deque)

    def first(now: int) -> deque[Task]:
        waiting = [user for user, queue in by_user.items() if queue]
        if not waiting:
            return deque()
        best = min(waiting, key=lambda u: (shares.level(u, now), by_user[u][0].created_at))
        return by_user[best]

    def begin(task: Task, now: int) -> None:
        shares.begin(task.user, task.id, float(task.spec.gpu or 0), now)

    def end(task: Task, now: int) -> None:
        shares.end(task.user, task.id, now)

    def add(task: Task) -> None:
        by_user[task.user].append(task)

    return Outcome("without backfill", _blocking(trace, add, first, begin, end))


def fetchml(trace: Trace, reserve_after_ms: int, *, prestage: bool = False) -> Outcome:
    """The core itself."""
    capacity = Resources(128, 1024)
    limits = Limits(
        capacity, 64, reserve_after_ms, "box", half_life_ms=HALF_LIFE_MS, prestage=prestage
    )
    box = SimulatedBox(limits, GPUS, lambda task: trace.run_ms[task.id])
    box.run(trace.tasks)
    hours = reserve_after_ms / 3_600_000
    after = f"{hours:g} h" if hours >= 1 else f"{hours * 60:g} min"
    name = f"FetchML, reserve_after {after}{', prepare ahead' if prestage else ''}"
    return Outcome(name, box.started)


def _nothing(task: Task, now: int) -> None:
    pass


def _blocking(
    trace: Trace,
    add: Callable[[Task], None],
    first: Callable[[int], deque[Task]],
    begin: Callable[[Task, int], None],
    end: Callable[[Task, int], None],
) -> dict[str, int]:
    free, started = GPUS, {}
    ends: list[tuple[int, str, Task]] = []
    coming = deque(trace.tasks)
    while coming or ends:
        if ends and (not coming or ends[0][0] <= coming[0].created_at):
            now, _, task = heappop(ends)
            free += task.spec.gpu or 0
            end(task, now)
        else:
            task = coming.popleft()
            now = task.created_at
            add(task)
        while (queue := first(now)) and (queue[0].spec.gpu or 0) <= free:
            task = queue.popleft()
            free -= task.spec.gpu or 0
            started[task.id] = now
            begin(task, now)
            heappush(ends, (now + trace.run_ms[task.id], task.id, task))
    return started


def utilisation(trace: Trace, outcome: Outcome) -> float:
    """Of the GPU time from the first submission to the last."""
    first, last = trace.tasks[0].created_at, trace.tasks[-1].created_at
    busy = 0
    for task in trace.tasks:
        begun = outcome.started[task.id]
        inside = min(last, begun + trace.run_ms[task.id]) - min(last, begun)
        busy += inside * (task.spec.gpu or 0)
    return busy / (GPUS * (last - first))


def waits(trace: Trace, outcome: Outcome, gpu: int | None) -> tuple[float, float]:
    """p50 and p95 in minutes, of the tasks with so many GPUs; None: of all."""
    values = sorted(
        outcome.started[task.id] - task.created_at
        for task in trace.tasks
        if gpu is None or task.spec.gpu == gpu
    )
    return values[len(values) // 2] / 60_000, values[len(values) * 95 // 100] / 60_000


def of_the_median_user(trace: Trace, outcome: Outcome) -> float:
    """Minutes that half of the users wait less than on average."""
    by_user: defaultdict[str, list[int]] = defaultdict(list)
    for task in trace.tasks:
        by_user[task.user].append(outcome.started[task.id] - task.created_at)
    return median(mean(waited) for waited in by_user.values()) / 60_000


def report(trace: Trace, outcomes: Sequence[Outcome]) -> str:
    """As Markdown."""
    sizes: list[int | None] = [*SIZES, None]
    heads = [f"{size} GPU{'s' if size > 1 else ''}" if size else "all" for size in sizes]
    lines = [
        "| scheduler | GPUs busy | " + " | ".join(heads) + " | mean of the median user |",
        "|---|---|" + "---|" * (len(heads) + 1),
    ]
    for outcome in outcomes:
        cells = [f"{outcome.name}", f"{utilisation(trace, outcome):.1%}"]
        for size in sizes:
            p50, p95 = waits(trace, outcome, size)
            cells.append(f"{p50:,.1f} / {p95:,.0f}")
        cells.append(f"{of_the_median_user(trace, outcome):,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trace", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--load", type=float, nargs="*", default=[0.4, 0.6])
    parser.add_argument("--tasks", type=int, default=TASKS)
    given = parser.parse_args()
    for load in given.load:
        trace = generate(given.seed, load, given.tasks)
        outcomes = [
            fifo(trace),
            without_backfill(trace),
            *(fetchml(trace, reserve_after) for reserve_after in RESERVE_AFTER_MS),
            fetchml(trace, RESERVE_AFTER_MS[0], prestage=True),
        ]
        print(f"\n{given.tasks:,} tasks, seed {given.seed}, load {load:.0%}. ", end="")
        print("Waiting p50 / p95 in minutes, by size:\n")
        print(report(trace, outcomes), flush=True)


if __name__ == "__main__":
    main()
