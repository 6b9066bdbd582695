"""The engine's clock when the machine's is set: it goes on, and comes back to it."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.core.events import Event, TimePassed
from fetchml.engine.recent_tasks import list_key
from fetchml.ports.store import Document, TaskQuery
from fetchml.server import assembly
from fetchml.system.clock import LONGEST_AHEAD_MS, SLOWED_PERCENT, Clock
from fetchml.system.ids import IdSequence
from fetchml.views import WatchFilter
from tests.support.engine_box import ALICE, BOB, Box, ended
from tests.support.waiting import SECONDS

START = 1_900_000_000_000
MS = 1_000_000


class Machine:
    """A machine's clocks, in the test's hand."""

    def __init__(self) -> None:
        self.wall_ns = START * MS
        self.steady_ns = 5 * MS
        self.clock = Clock(wall_ns=lambda: self.wall_ns, steady_ns=lambda: self.steady_ns)

    def passes(self, ms: float) -> None:
        self.wall_ns += round(ms * MS)
        self.steady_ns += round(ms * MS)

    def set_wall(self, ms: float) -> None:
        """By so much, forward or back."""
        self.wall_ns += round(ms * MS)


def test_clock_shows_the_time_of_the_host() -> None:
    machine = Machine()
    assert machine.clock() == START
    machine.passes(1234)
    assert machine.clock() == START + 1234
    machine.set_wall(3_600_000)
    assert machine.clock() == START + 1234 + 3_600_000, "set forward: followed at once"


def test_clock_continues_when_the_host_clock_is_set_back() -> None:
    machine = Machine()
    machine.clock()
    machine.set_wall(-117_000)
    before = START
    for _ in range(1000):
        machine.passes(0.25)
        machine.clock()
    assert machine.clock() == before + 250 * SLOWED_PERCENT // 100, "asked often, it stands still"


def test_clock_returns_to_the_time_of_the_host() -> None:
    machine = Machine()
    machine.clock()
    machine.set_wall(-10_000)
    for _ in range(200):
        machine.passes(1_000)
        machine.clock()
    assert machine.clock() * MS == machine.wall_ns


def test_it_follows_back_from_far_ahead() -> None:
    machine = Machine()
    machine.clock()
    machine.set_wall(-LONGEST_AHEAD_MS - 1)
    assert machine.clock() == START - LONGEST_AHEAD_MS - 1


def test_it_begins_behind_what_has_passed() -> None:
    machine = Machine()
    clock = Clock(
        START + 1000, wall_ns=lambda: machine.wall_ns, steady_ns=lambda: machine.steady_ns
    )
    assert clock() == START + 1000
    machine.passes(100)
    assert clock() == START + 1000 + 100 * SLOWED_PERCENT // 100


@given(
    steps=st.lists(
        st.tuples(st.floats(0.0, 10_000), st.one_of(st.just(0.0), st.floats(-20_000, 20_000))),
        max_size=30,
    )
)
def test_it_never_goes_back_nor_stands_still(steps: list[tuple[float, float]]) -> None:
    """Whatever happens within five minutes: time passes, and ids sort as their times do."""
    machine, ids = Machine(), IdSequence()
    times, made = [machine.clock()], [ids.next(START)]
    for passed, set_by in steps:
        machine.passes(passed)
        machine.set_wall(set_by)
        times.append(machine.clock())
        made.append(ids.next(times[-1]))
        assert times[-1] >= times[-2] + int(passed * SLOWED_PERCENT / 100) - 1 or (
            machine.wall_ns < times[-2] * MS - LONGEST_AHEAD_MS * MS
        )
    assert made == sorted(set(made))


@pytest.mark.parametrize("back_ms", [3_600_000])
async def test_a_retry_waits_no_longer_when_the_clock_is_set_back(
    box: Box, monkeypatch: pytest.MonkeyPatch, back_ms: int
) -> None:
    """Within the five minutes, and beyond. Nothing spins meanwhile."""
    set_back_ms = 0

    def clock(not_before: int = 0) -> Clock:
        return Clock(not_before, wall_ns=lambda: time.time_ns() - set_back_ms * MS)

    monkeypatch.setattr(assembly, "Clock", clock)
    async with box.engine() as engine:
        steps = list[Event]()
        apply = box.parts.dispatcher.apply

        def counted(event: Event, documents: Sequence[Document] = ()) -> asyncio.Future[None]:
            steps.append(event)
            return apply(event, documents)

        monkeypatch.setattr(box.parts.dispatcher, "apply", counted)
        request = {"job_name": "a", "command": ["false"], "max_retries": 1}
        task = await engine.submissions.create_task(ALICE, request)
        async with aclosing(
            engine.watches.watch(ALICE, WatchFilter(task_id=task.id), since=0)
        ) as updates:
            async for update in updates:
                if update.task and update.task.retry_count:
                    break
        set_back_ms = back_ms
        await engine.submissions.create_task(BOB, {"job_name": "b", "command": ["true"]})
        task = await asyncio.wait_for(ended(engine, task.id), SECONDS)
        assert task.attempt == 2
        assert sum(isinstance(step, TimePassed) for step in steps) <= 4


async def test_pages_are_in_order_when_the_clock_was_set_back_by_far(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was created in the wrong future stays first; no page skips or repeats a task."""
    set_back_ms = 0

    def clock(not_before: int = 0) -> Clock:
        return Clock(not_before, wall_ns=lambda: time.time_ns() - set_back_ms * MS)

    monkeypatch.setattr(assembly, "Clock", clock)
    async with box.engine(max_running=1) as engine:
        blocker = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "command": ["sleep", "600"]}
        )
        made = [blocker]
        for number in range(6):
            set_back_ms = 3_600_000 * (number // 3)
            made.append(await engine.submissions.create_task(ALICE, {"job_name": "a"}))
        newest_first = sorted(made, key=list_key, reverse=True)
        found = []
        for offset in range(0, len(made), 2):
            page = await engine.tasks.list(ALICE, TaskQuery(limit=2, offset=offset))
            found += [task.id for task in page.tasks]
        assert found == [task.id for task in newest_first]
        await engine.changes.cancel(ALICE, blocker.id)
