"""The core's machine in a world in which batches enter in parts, while anything else happens."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, multiple, rule
from msgspec.structs import replace

from fetchml.core import quotas
from fetchml.core.events import (
    BatchAnnounced,
    BatchWithdrawn,
    Decision,
    Event,
    OpenGate,
    RunAttempt,
    Submitted,
)
from fetchml.core.footprint import footprint
from fetchml.core.model import Condition, Dependency, Status, Task, TaskSpec
from tests.core.drawn import specs
from tests.core.test_machine import Attempt, CoreMachine, users
from tests.core.test_machine_of_dependencies import DependentMachine


class ArrivingMachine(DependentMachine):
    def __init__(self) -> None:
        super().__init__()
        self.to_come: deque[tuple[str, TaskSpec]] = deque()
        """Users and requests of the tasks that have not entered."""
        self.entered: set[str] = set()
        """Tasks of the batch that arrives which have entered."""

    @rule(
        user=users,
        chosen=st.lists(specs, min_size=2, max_size=6),
        data=st.data(),
        condition=st.sampled_from(Condition),
    )
    def announce(
        self, user: str, chosen: list[TaskSpec], data: st.DataObject, condition: Condition
    ) -> None:
        if self.to_come:
            return
        named: set[str] = set()
        for spec in chosen:
            asked = spec
            if bool(self.seen) and data.draw(st.booleans()):
                others = data.draw(st.sets(st.sampled_from(sorted(self.seen)), max_size=3))
                named |= others
                after = tuple(Dependency(each, condition) for each in sorted(others))
                asked = replace(spec, after=after or None)
            self.to_come.append((user, asked))
        ended = {each: self.seen[each].status for each in named if each not in self.state.tasks}
        sizes = [footprint(spec) for _, spec in self.to_come]
        self.begin(BatchAnnounced(self.now, user, sizes, ended))

    @rule(target=CoreMachine.attempts, count=st.integers(1, 3))
    def part(self, count: int) -> object:
        tasks: list[Task] = []
        while self.to_come and len(tasks) < count:
            user, spec = self.to_come.popleft()
            self.number += 1
            tasks.append(Task(f"t{self.number:05}", user, spec, self.now))
        if not tasks:
            return multiple()
        self.entered |= {task.id for task in tasks}
        if not self.to_come:
            self.entered.clear()
        sizes = [footprint(task.spec) for task in tasks]
        return multiple(*self.begin(Submitted(self.now, tasks, sizes, part=True)))

    @rule(target=CoreMachine.attempts)
    def withdraw(self) -> object:
        self.to_come.clear()
        entered = frozenset(self.entered)
        self.entered.clear()
        for task_id in entered & self.state.tasks.keys():
            # To the tasks that start after it. Nobody else sees that it was there.
            self.seen[task_id] = replace(self.seen[task_id], status=Status.FAILED)
        begun = self.begin(BatchWithdrawn(self.now, entered))
        assert not entered & self.state.tasks.keys()
        return multiple(*begun)

    def apply(self, event: Event) -> list[Attempt]:
        arrived = super().apply(event)
        assert bool(self.to_come) == (self.state.arrival is not None)
        live = [
            task
            for task in self.seen.values()
            if task.status not in (Status.COMPLETED, Status.FAILED)
        ]
        assert quotas.live_count(self.state) == len(live) + len(self.to_come)
        return arrived

    def follow(self, decision: Decision) -> None:
        super().follow(decision)
        if self.to_come:
            begun = [e for e in decision.effects if isinstance(e, RunAttempt | OpenGate)]
            assert not begun, "something starts before the batch is whole"

    @rule()
    def restart(self) -> None:
        """What has not arrived wholly is not stored, so that no restart knows of it."""
        if not self.to_come:
            super().restart()

    @invariant()
    def nothing_idles(self) -> None:
        if not self.to_come:
            super().nothing_idles()

    @invariant()
    def conditions_are_kept(self) -> None:
        if not self.to_come:
            super().conditions_are_kept()


TestArrivals = ArrivingMachine.TestCase
TestArrivals.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)
