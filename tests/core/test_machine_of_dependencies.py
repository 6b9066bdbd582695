"""The core's machine in a world in which tasks wait for others, are held and start later."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, multiple, rule
from msgspec.structs import replace

from fetchml.core.events import Submitted, TimePassed
from fetchml.core.model import Condition, Dependency, FailureReason, Status, Task, TaskSpec
from tests.core.drawn import specs
from tests.core.oracle import decided
from tests.core.test_machine import CoreMachine, users
from tests.core.test_machine_of_changes import ChangingMachine


class DependentMachine(ChangingMachine):
    def __init__(self) -> None:
        super().__init__()
        self.judged: set[str] = set()
        """Tasks that wait for nothing any more: a sweep may be submitted again behind them."""

    @rule(
        target=CoreMachine.attempts,
        user=users,
        spec=specs,
        data=st.data(),
        condition=st.sampled_from(Condition),
        hold=st.booleans(),
    )
    def submit_after(
        self, user: str, spec: TaskSpec, data: st.DataObject, condition: Condition, hold: bool
    ) -> object:
        """A task waits for others, live or ended."""
        if not self.seen:
            return multiple()
        others = data.draw(st.sets(st.sampled_from(sorted(self.seen)), min_size=1, max_size=3))
        after = tuple(Dependency(each, condition) for each in sorted(others))
        ended = {each: self.seen[each].status for each in others if each not in self.state.tasks}
        self.number += 1
        asked = replace(spec, after=after, hold=hold)
        task = Task(f"t{self.number:05}", user, asked, self.now)
        return multiple(*self.begin(Submitted(self.now, [task], (), ended)))

    @rule(target=CoreMachine.attempts)
    def timer(self) -> object:
        return multiple(*self.begin(TimePassed(self.now)))

    @invariant()
    def conditions_are_kept(self) -> None:
        """None starts too early, none waits for ever, and none fails without a reason."""
        if not hasattr(self, "state") or self.state.blocked.news:
            return
        for task in self.seen.values():
            if task.spec.after is None or task.id in self.judged:
                continue
            known = [decided(each, self.seen) for each in task.spec.after]
            if task.failure_reason is FailureReason.DEPENDENCY_FAILED:
                assert False in known
                self.judged.add(task.id)
            elif task.attempt or task.after_met:
                assert all(known), f"{task.id} may start, {known}"
                self.judged.add(task.id)
            elif task.status is Status.QUEUED:
                assert False not in known, f"{task.id} waits for what can't happen"
                assert (None in known) == (task.id in self.state.blocked), known
            else:
                self.judged.add(task.id)


TestDependencies = DependentMachine.TestCase
TestDependencies.settings = settings(stateful_step_count=60)
