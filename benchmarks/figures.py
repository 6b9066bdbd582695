"""What is measured, and how it is printed."""

import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Load(NamedTuple):
    """What one load made of a server."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, latencies: list[float], seconds: float) -> "Load":
        """`latencies`: of every request, in seconds."""
        latencies.sort()
        count = len(latencies)
        return cls(
            count,
            count / seconds,
            p50_ms=latencies[count // 2] * 1000,
            p99_ms=latencies[count * 99 // 100] * 1000,
        )


class Figure(NamedTuple):
    """A line of the table: a claim, what was measured, and whether that keeps it."""

    claim: str
    floor: str
    """What it is measured against, in the same run."""
    measured: str
    target: str
    kept: bool


Benchmark = Iterator[Figure]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def at_least(claim: str, floor: str, loads: Sequence[tuple[Load, Load]], target: float) -> Figure:
    """Requests a second. `loads`: of each round, ours and the floor's beside it."""
    ratios = [ours.per_second / bare.per_second for ours, bare in loads]
    ours, bare = (median([load.per_second for load in side]) for side in zip(*loads, strict=True))
    ratio = median(ratios)
    measured = (
        f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}): {ours:,.0f}/s against {bare:,.0f}/s"
    )
    return Figure(claim, floor, measured, f"≥ {target}", ratio >= target)


def not_run(claim: str, floor: str, reason: str) -> Figure:
    return Figure(claim, floor, f"not run: {reason}", "", kept=False)


def machine() -> str:
    cpu = platform.processor() or "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}, "
        f"load average {os.getloadavg()[0]:.1f} before"
    )


def print_table(title: str, figures: Sequence[Figure]) -> None:
    table = Table(title=title, title_justify="left", title_style="")
    for heading in ("claim", "against", "measured", "target", ""):
        table.add_column(heading, overflow="fold")
    for figure in figures:
        table.add_row(*figure[:4], "kept" if figure.kept else "MISSED")
    Console(width=max(Console().width, 120)).print(table)
