"""Use of GPUs from the readings of the inventory to the core."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest

from fetchml.attempts.hosts import ClusterHost, ThisHost
from fetchml.core.events import Event, GpusUsed
from fetchml.core.gpus.allocator import Utilisation
from fetchml.core.gpus.health import GpuReading
from fetchml.core.model import Resources, Status
from fetchml.core.scheduling.resources import IdleRule
from fetchml.core.state import Limits, State
from fetchml.core.usage import SAMPLE_MS
from fetchml.engine.gpus.activity import GpuActivity, utilisation
from fetchml.ports.cluster import NodeReading
from tests.core.host import task
from tests.support.stub_gpus import StubInventory, reading

RULE = IdleRule(5, 60_000, 0, None)


class Bench:
    def __init__(self, rule: IdleRule | None = RULE) -> None:
        self.now = 1_000
        self.events: list[Event] = []
        self.inventory = StubInventory()
        self.inventory._on_change = lambda _: None
        self.state = State(Limits(Resources(8, 32), 8, 600_000, "box", idle=rule))
        self.state.gpus.holders["GPU-0000"] = {"t": 1}  # type: ignore[assignment]
        self.activity = GpuActivity(
            self.state, ThisHost(), self.inventory, clock=lambda: self.now, report=self.report
        )

    def report(self, event: Event) -> asyncio.Future[None]:
        self.events.append(event)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def see(self, *readings: Any, **about: Any) -> None:
        """Half a sample's time later."""
        self.inventory.see(*readings, **about)
        self.now += SAMPLE_MS // 2
        await self.activity.look()

    def found(self) -> Iterator[dict[str, Utilisation]]:
        for event in self.events:
            assert isinstance(event, GpusUsed)
            yield {use.uuid: use for use in event.gpus}


async def test_highest_use_of_each_time_is_reported() -> None:
    bench = Bench()
    await bench.see(reading(0, utilisation_percent=80), reading(1, utilisation_percent=3))
    assert bench.events == []
    await bench.see(reading(0, utilisation_percent=10), reading(1, lost="gone"))
    await bench.see(reading(0, utilisation_percent=0), reading(1, trouble="no answer"))
    await bench.see(reading(0, utilisation_percent=1), reading(1, lost="gone"))
    first, second = bench.found()
    assert (first["GPU-0000"].percent, first["GPU-1000"].percent) == (80, 3)
    assert (second["GPU-0000"].percent, "GPU-1000" in second) == (1, False)


async def test_nothing_is_reported_while_nothing_is_known_or_held() -> None:
    bench = Bench()
    for _ in range(2):
        await bench.see(reading(0, utilisation_percent=None))
    for _ in range(2):
        await bench.see(reading(0), problem="the driver does not answer")
    bench.state.gpus.holders.clear()
    for _ in range(2):
        await bench.see(reading(0))
    assert bench.events == []


async def test_same_reading_is_not_seen_twice() -> None:
    bench = Bench()
    await bench.see(reading(0))
    await bench.see(reading(0))
    bench.now += SAMPLE_MS
    await bench.activity.look()
    assert len(bench.events) == 1, "a driver that hangs leaves a gap"


@pytest.mark.parametrize("rule", [None, RULE])
async def test_use_is_not_read_where_idle_gpus_do_not_matter(rule: IdleRule | None) -> None:
    bench = Bench(rule)
    bench.inventory.see(reading(0))
    bench.now += SAMPLE_MS
    async with bench.activity.reporting():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(bench.events) == (rule is not None)


def test_use_by_process_fills_the_gaps_of_the_drivers_own_value() -> None:
    both = utilisation(reading(0, utilisation_percent=0, task_use={"a": 60}))
    assert both == Utilisation("GPU-0000", 60, {"a": 60})
    only = utilisation(reading(0, utilisation_percent=None, task_use={}))
    assert only == Utilisation("GPU-0000", 0, {})
    assert utilisation(reading(0, utilisation_percent=None)) is None


def test_higher_of_two_uses() -> None:
    one = Utilisation("g", 5, {"a": 5, "b": 1})
    assert one.or_more(Utilisation("g", 3, {"b": 3})) == Utilisation("g", 5, {"a": 5, "b": 3})
    assert one.or_more(Utilisation("g", 9)) == Utilisation("g", 9)


class Nodes:
    """A cluster whose nodes have measured this."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, int], NodeReading] = {}

    def see(self, task_id: str, mark: str, **uses: int | None) -> None:
        """`uses`: the utilisation of each GPU of node g1."""
        gpus = [GpuReading(f"g1:{n[1:]}", utilisation_percent=use) for n, use in uses.items()]
        self.found[(task_id, 1)] = NodeReading(mark, gpus)

    def gpu_readings(
        self, attempts: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], NodeReading]:
        return {key: each for key, each in self.found.items() if key in attempts}


class NodesBench(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.nodes = Nodes()
        for task_id, uuids in (("a", ("g1:0",)), ("b", ("g1:1", "g1:2"))):
            each = task(task_id, status=Status.RUNNING, attempt=1, gpu_uuids=uuids)
            self.state.tasks[task_id] = each
            self.state.held[task_id] = Resources(gpu=len(uuids))
        cluster: Any = self.nodes
        self.activity = GpuActivity(
            self.state, ClusterHost(cluster), None, clock=lambda: self.now, report=self.report
        )

    async def pass_by(self) -> dict[str, int] | None:
        """Look once more when it is time to report; return what was reported by task."""
        self.events.clear()
        self.now += SAMPLE_MS
        await self.activity.look()
        if not self.events:
            return None
        [event] = self.events
        assert isinstance(event, GpusUsed)
        assert not event.gpus
        return dict(event.tasks)


async def test_highest_use_of_a_tasks_gpus_on_its_node_is_reported() -> None:
    bench = NodesBench()
    bench.nodes.see("a", "1", n0=90)
    bench.nodes.see("b", "1", n1=0, n2=7)
    await bench.activity.look()
    bench.nodes.see("a", "2", n0=1)
    assert await bench.pass_by() == {"a": 90, "b": 7}
    bench.nodes.see("a", "3", n0=2)
    assert await bench.pass_by() == {"a": 2}


async def test_measurement_that_a_node_does_not_renew_counts_once() -> None:
    bench = NodesBench()
    bench.nodes.see("a", "1", n0=0)
    assert await bench.pass_by() == {"a": 0}
    assert await bench.pass_by() is None
    bench.nodes.see("a", "2", n0=0)
    assert await bench.pass_by() == {"a": 0}


async def test_task_reports_nothing_about_the_gpus_of_others() -> None:
    """Nor is it judged by a part of its own: one GPU is not measured, or has no known use."""
    bench = NodesBench()
    bench.nodes.see("a", "1", n0=90, n1=0, n2=0)
    assert await bench.pass_by() == {"a": 90}
    bench.nodes.see("b", "1", n0=0, n1=0)
    bench.nodes.see("a", "2", n0=None)
    assert await bench.pass_by() is None
