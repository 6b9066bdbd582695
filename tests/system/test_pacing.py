"""Long work shares the turns of the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from fetchml.system import pacing
from fetchml.system.pacing import LONGEST_SECONDS, SHORT_SECONDS, Pace

PART = 5
ITEM_SECONDS = LONGEST_SECONDS / PART + 1e-9


class Passes:
    """The passes of the event loop, with a clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.workers: list[list[str]] = [[]]
        """Of each pass, who worked in it."""

    async def count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.workers.append([])

    async def work(self, name: str, items: int) -> None:
        pace = Pace()
        for _ in range(items):
            await pace.rest()
            self.now += ITEM_SECONDS
            self.workers[-1].append(name)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    passes = Passes()
    monkeypatch.setattr(pacing, "time", SimpleNamespace(perf_counter=lambda: passes.now))
    return passes


async def seen(passes: Passes, *work: Callable[[Passes], Awaitable[None]]) -> list[list[str]]:
    """Do all at one time; return the passes in which there was some."""
    counting = asyncio.create_task(passes.count())
    await asyncio.gather(*(each(passes) for each in work))
    counting.cancel()
    return [each for each in passes.workers if each]


def worker(name: str, items: int) -> Callable[[Passes], Awaitable[None]]:
    return lambda passes: passes.work(name, items)


async def test_all_long_work_of_a_pass_is_bounded(passes: Passes) -> None:
    names = [f"{n}" for n in range(10)]
    first, *others = await seen(passes, *(worker(name, 20) for name in names))
    # Each begins with one item, before it is known to be long.
    assert len(first) <= len(names) + PART
    assert {len(workers) for workers in others} <= {PART, PART - 1, 1}
    assert {len(set(workers)) for workers in others} == {1}


async def test_long_work_goes_on_in_order(passes: Passes) -> None:
    first, *others = await seen(passes, *(worker(name, 1 + 4 * PART) for name in "abc"))
    assert sorted({*first}) == ["a", "b", "c"]
    turns = [workers[0] for workers in others]
    assert turns[:3] == turns[3:6] == turns[6:9]
    assert sorted(turns[:3]) == ["a", "b", "c"]


async def test_short_work_waits_for_no_turn(passes: Passes) -> None:
    pace = Pace()
    passes.now += SHORT_SECONDS
    assert not pace.due, "the long work of this pass begins"
    passes.now += LONGEST_SECONDS
    short, long = Pace(), Pace()
    assert not short.due
    passes.now += SHORT_SECONDS
    assert long.due, "this pass had its long work"
    await asyncio.sleep(0)
    assert not Pace().due, "the next one had none"


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_cancelled_work_stops_no_other(cancelled: int) -> None:
    turns: list[int] = []

    async def turn(number: int) -> None:
        await Pace().turn()
        turns.append(number)

    waiting = [asyncio.create_task(turn(number)) for number in range(3)]
    await asyncio.sleep(0)
    waiting[cancelled].cancel()
    await asyncio.wait(waiting)
    assert turns == [number for number in range(3) if number != cancelled]
