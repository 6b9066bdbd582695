"""Use of GPUs from the readings of the inventory to the core."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fetchml.core.events import Event, GpusUsed
from fetchml.core.gpus.use import Utilisation
from fetchml.core.model import Resources
from fetchml.core.scheduling.limits import IdleRule
from fetchml.core.state import Limits, State
from fetchml.core.usage import SAMPLE_MS
from fetchml.engine.gpus.activity import GpuActivity, utilisation
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
            self.state, self.inventory, clock=lambda: self.now, report=self.report
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
