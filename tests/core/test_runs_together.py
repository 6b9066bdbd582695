"""Sweeps, dependencies, holds and bookings together, in simulated time: nothing starts too early,
everything ends, and each failure is explained."""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fetchml.core.bookings.booking import Booking
from fetchml.core.dependencies import request
from fetchml.core.events import (
    BookingsChanged,
    Collected,
    Ended,
    GpuChecked,
    GpusSeen,
    LauncherChanged,
    Recovered,
    Started,
    Submitted,
    TimePassed,
    UpdateRequested,
)
from fetchml.core.model import (
    ENDED,
    AttemptEnd,
    Condition,
    Dependency,
    FailureReason,
    Status,
    SweepMember,
    Task,
)
from fetchml.core.requests.update import TaskUpdate
from fetchml.core.state import State
from fetchml.core.sweeps.progress import Failures
from tests.core.host import MINUTE, Host
from tests.core.oracle import decided, failures_of
from tests.support import tasks as factory

START = 1_760_000_000_000
UNIT = 10 * MINUTE
USERS = ("alice", "bob")


@dataclass
class Group:
    """A sweep, or a task of its own (`size` 0), as drawn. Times are in units of ten minutes."""

    user: str
    size: int
    gpu: int
    limit: int
    runs: int
    most: int
    fails: tuple[bool, ...]
    at: int
    how: str
    other: int
    condition: Condition
    released: int
    start_after: int
    retried: int
    ids: list[str] = field(default_factory=list)


groups = st.builds(
    Group,
    user=st.sampled_from(USERS),
    size=st.integers(0, 3),
    gpu=st.integers(0, 1),
    limit=st.sampled_from([0, 0, 2]),
    runs=st.integers(1, 3),
    most=st.integers(0, 2),
    fails=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    at=st.integers(0, 6),
    how=st.sampled_from(["free", "whole", "index"]),
    other=st.integers(0, 5),
    condition=st.sampled_from(Condition),
    released=st.sampled_from([0, 0, 8]),
    start_after=st.sampled_from([0, 0, 9]),
    retried=st.sampled_from([0, 0, 12]),
)
bookings = st.lists(
    st.tuples(st.sampled_from(USERS), st.integers(0, 1), st.integers(0, 10), st.integers(1, 5)),
    max_size=2,
)


class Simulation:
    def __init__(self, drawn: list[Group], booked: list[tuple[str, int, int, int]]) -> None:
        self.groups = drawn
        self.box = Host(gpus=2, max_running=3, prestage=False)
        self.box.now = START
        self.bookings = [
            Booking(
                str(n), user, (f"G{gpu}",), START + at * UNIT, START + (at + long) * UNIT, 1, "r"
            )
            for n, (user, gpu, at, long) in enumerate(booked)
        ]
        self.coming: list[tuple[int, int, Any]] = []
        self.seen: dict[str, Task] = {}
        self.started: set[str] = set()
        self.unblocked: set[str] = set()
        self.order = 0
        self.do(BookingsChanged(START, self.bookings))
        for group in drawn:
            self.later(group.at * UNIT, lambda group=group: self.submit(group))

    def later(self, ms: int, what: Any) -> None:
        self.order += 1
        heappush(self.coming, (max(self.box.now, START + ms), self.order, what))

    def do(self, event: Any) -> None:
        """Apply an event, and look at what it has started."""
        self.box.do(event)
        while True:
            for each in self.box.last.changes:
                self.seen[each.id] = each
            self.look()
            if not self.box.state.blocked.news:
                return
            self.box.do(TimePassed(self.box.now))

    def look(self) -> None:
        """Nothing starts too early."""
        self.look_at_conditions()
        for task_id in list(self.box.state.held):
            task = self.box.task(task_id)
            if task_id in self.started:
                continue
            self.started.add(task_id)
            assert not task.spec.hold
            assert (task.spec.start_after or 0) <= self.box.now
            for uuid in task.gpu_uuids:
                for each in self.bookings:
                    if uuid in each.gpu_uuids and each.user != task.user:
                        until = self.box.now + task.spec.timeout_seconds * 1000
                        meets = self.box.now < each.ends_at and (
                            not task.spec.timeout_seconds or until > each.starts_at
                        )
                        assert not meets, f"{task_id} starts into {each}"
            group = self.group_of(task)
            runs = min(group.runs, group.limit) if group.limit else group.runs
            self.later(self.box.now - START + runs * UNIT, lambda t=task_id: self.end(t))

    def look_at_conditions(self) -> None:
        """All conditions of a task hold at the moment when it stops waiting for them. Later, while
        it waits for its turn, a sweep may be submitted again."""
        state = self.box.state
        unblocked = {task_id for task_id in state.tasks if task_id not in state.blocked}
        for task_id in unblocked - self.unblocked:
            for on in state.tasks[task_id].spec.after or ():
                assert decided(on, self.seen), f"{task_id} does not wait for {on}"
        self.unblocked = unblocked

    def group_of(self, task: Task) -> Group:
        return next(each for each in self.groups if task.id in each.ids)

    def end(self, task_id: str) -> None:
        group = self.group_of(self.seen[task_id])
        place = group.ids.index(task_id)
        # What is submitted again goes well.
        code = int(place < max(1, group.size) and group.fails[place])
        task = self.box.task(task_id)
        for event in end_events(self.box.now, task, code):
            self.do(event)

    def submit(self, group: Group) -> None:
        number = self.groups.index(group)
        known = [each for each in self.groups if each.ids]
        after: list[Dependency] = []
        followed: dict[str, list[str]] = {}
        if known and group.how != "free":
            other = known[group.other % len(known)]
            name = f"s{self.groups.index(other)}"
            if not other.size:
                after = [Dependency(other.ids[0], group.condition)]
            elif group.how == "index" and group.size:
                group.size = other.size
                after = [Dependency("", group.condition, name, same_index=True)]
                followed[name] = self.places(other)
            else:
                after = [Dependency("", group.condition, name)]
        made = []
        for index in range(max(1, group.size)):
            sweep = SweepMember(f"s{number}", index, {}, group.most) if group.size else None
            task = factory.task(
                f"g{number}-{index}",
                user=group.user,
                created_at=self.box.now,
                gpu=group.gpu,
                timeout_seconds=group.limit * UNIT // 1000,
                sweep=sweep,
                hold=group.released > 0,
                start_after=START + group.start_after * UNIT if group.start_after else None,
                after=tuple(after) or None,
            )
            made.append(replace(task, spec=request.of_index(task.spec, index, followed)))
        group.ids = [each.id for each in made]
        self.enter(made)
        if group.released:
            self.later(group.released * UNIT, lambda: self.release(group))
        if group.retried and group.size:
            self.later(group.retried * UNIT, lambda: self.retry(group))

    def places(self, group: Group) -> list[str]:
        """Ids of the tasks that have the places of a sweep, by index."""
        found: dict[int, str] = {}
        for each in group.ids:
            if not self.seen[each].superseded:
                sweep = self.seen[each].spec.sweep
                found[sweep.index if sweep else 0] = each
        return [found[index] for index in sorted(found)]

    def enter(self, made: list[Task], replaced: list[Task] | None = None) -> None:
        named = [on for each in made for on in each.spec.after or ()]
        ended = {
            on.task_id: self.seen[on.task_id].status
            for on in named
            if on.task_id and on.task_id not in self.box.state.tasks
        }
        sweeps = {on.sweep_id for on in named if not on.task_id}
        sweeps |= {each.spec.sweep.id for each in replaced or [] if each.spec.sweep}
        failed = failures_of(self.seen.values())
        known = {
            each: failed.get(each, Failures())
            for each in sweeps
            if each not in self.box.state.progress
        }
        self.do(Submitted(self.box.now, made, (), ended, replaced or [], known))

    def release(self, group: Group) -> None:
        for task_id in group.ids:
            if task_id in self.box.state.tasks:
                self.do(UpdateRequested(self.box.now, task_id, TaskUpdate(hold=False)))

    def retry(self, group: Group) -> None:
        """Submit failed tasks again, each after what has its index by now."""
        failed = [self.seen[each] for each in self.places(group)]
        failed = [each for each in failed if each.status is Status.FAILED]
        now = {
            f"s{number}": dict(enumerate(self.places(each)))
            for number, each in enumerate(self.groups)
            if each.size and each.ids
        }
        made = [
            Task(
                f"{each.id}-again",
                each.user,
                request.renewed(replace(each.spec, hold=False, start_after=None), now),
                self.box.now,
            )
            for each in failed
        ]
        if made:
            group.ids += [each.id for each in made]
            self.enter(made, [replace(each, superseded=True) for each in failed])

    def restart(self) -> None:
        live = [each for each in self.seen.values() if each.status not in ENDED]
        outcomes = {e.id: e.status for e in self.seen.values() if e.status in ENDED}
        failed = failures_of(self.seen.values())
        self.box.state = State.restore(self.box.state.limits, live, ended=outcomes, failures=failed)
        self.do(BookingsChanged(self.box.now, self.bookings))
        self.do(Recovered(self.box.now))
        self.do(GpusSeen(self.box.now, self.box.gpus))
        self.do(LauncherChanged(self.box.now, available=True))

    def run(self) -> None:
        while self.coming or self.box.last.next_due is not None:
            due = self.box.last.next_due
            if due is not None and (not self.coming or due < self.coming[0][0]):
                self.box.now = max(due, self.box.now)
                self.do(TimePassed(self.box.now, self.box.now))
                continue
            at, _, what = heappop(self.coming)
            self.box.now = max(self.box.now, at)
            what()


def end_events(now: int, task: Task, code: int) -> list[Any]:
    how = AttemptEnd(at=now, started_at=now, code=code)
    return [
        Started(now, task.id, task.attempt, now),
        Ended(now, task.id, task.attempt, how),
        *(GpuChecked(now, uuid) for uuid in task.gpu_uuids),
        Collected(now, task.id, task.attempt),
    ]


@given(
    drawn=st.lists(groups, min_size=1, max_size=6),
    booked=bookings,
    restarts=st.lists(st.integers(0, 15), max_size=2),
)
def test_nothing_starts_too_early_and_everything_ends(
    drawn: list[Group], booked: list[tuple[str, int, int, int]], restarts: list[int]
) -> None:
    world = Simulation(drawn, booked)
    for at in restarts:
        world.later(at * UNIT, world.restart)
    world.run()
    left = world.box.state
    assert not left.tasks, [world.box.reason(task_id) for task_id in left.tasks]
    assert (len(left.progress), len(left.sweeps), len(left.held_back)) == (0, 0, 0)
    for task in world.seen.values():
        if task.failure_reason is FailureReason.DEPENDENCY_FAILED:
            assert task.id not in world.started
            assert any(on.target in (task.error or "") for on in task.spec.after or ())
        else:
            assert task.id in world.started, task
