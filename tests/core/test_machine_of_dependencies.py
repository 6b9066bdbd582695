"""The core's machine in a world in which tasks wait for others, are held and start later."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, multiple, rule
from msgspec.structs import replace

from fetchml.core.dependencies.blocked import holds
from fetchml.core.events import Submitted, TimePassed
from fetchml.core.model import ENDED, Condition, Dependency, FailureReason, Status, Task, TaskSpec
from tests.core.drawn import specs
from tests.core.test_machine import CoreMachine, users
from tests.core.test_machine_of_changes import ChangingMachine


class DependentMachine(ChangingMachine):
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

    def outcomes(self) -> dict[str, Status]:
        return {each.id: each.status for each in self.seen.values() if each.status in ENDED}

    @rule(target=CoreMachine.attempts)
    def timer(self) -> object:
        return multiple(*self.begin(TimePassed(self.now)))

    @invariant()
    def conditions_are_kept(self) -> None:
        """None starts too early, none waits for ever, and none fails without a reason."""
        if not hasattr(self, "state") or self.state.blocked.news:
            return
        outcomes = self.outcomes()
        for task in self.seen.values():
            if task.spec.after is None:
                continue
            known = [(each.condition, outcomes.get(each.task_id)) for each in task.spec.after]
            broken = [how for how, out in known if out is not None and not holds(how, out)]
            if task.failure_reason is FailureReason.DEPENDENCY_FAILED:
                assert broken
            elif task.attempt:
                assert all(out is not None and holds(how, out) for how, out in known)
            elif task.status is Status.QUEUED:
                assert not broken, f"{task.id} waits for what can't happen"
                waits = any(out is None for _, out in known)
                assert waits == (task.id in self.state.blocked)


TestDependencies = DependentMachine.TestCase
TestDependencies.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
