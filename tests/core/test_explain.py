"""Explanations of why a task waits."""

from fetchml.core.events import (
    GpusSeen,
    LauncherChanged,
)
from fetchml.core.gpus.allocator import Gpu, Obstacle, ObstacleKind
from fetchml.engine.explain import explain
from tests.core.host import RESERVE_MS, Host, task


def test_explanation_names_the_obstacles_of_gpus() -> None:
    host = Host(gpus=2)
    blocked = Obstacle(ObstacleKind.BUSY, "python3 (pid 4711, 2.1 GiB)")
    host.do(GpusSeen(1, [Gpu("G0", blocked=blocked), host.gpus[1]]))
    host.submit(task("runs"), task("waits"))
    assert host.reason("waits") == (
        "It waits for 1 GPU (0 of 2 free; GPU 0: busy: python3 (pid 4711, 2.1 GiB))."
    )


def test_explanation_names_the_task_with_the_backfill_reservation() -> None:
    host = Host(gpus=2)
    host.submit(task("runs"), task("large", 2))
    host.now += 2 * RESERVE_MS
    host.submit(task("small", at=host.now))
    assert host.reason("small") == (
        "The resources it needs are free, but reserved for large, which waited more than 10 "
        "minutes."
    )


def test_explanation_mentions_shares() -> None:
    host = Host(gpus=2, max_running=2)
    host.submit(task("runs"))
    host.do(LauncherChanged(1, available=False))
    host.submit(task("bob", user="bob"), task("waits"))
    assert explain(host.state, host.task("waits"), host.now).position == 2
    host.do(GpusSeen(1, []))
    host.do(LauncherChanged(1, available=True))
    assert host.reason("waits").startswith("It waits for 1 GPU (0 of 2 free; ")
