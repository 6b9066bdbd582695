"""The core's machine in a world of sweeps that wait for sweeps and are submitted again."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule
from msgspec.structs import replace

from fetchml.core.dependencies import request
from fetchml.core.events import Decision, Submitted
from fetchml.core.model import ENDED, Condition, Dependency, Status, SweepMember, Task, TaskSpec
from fetchml.core.sweeps.progress import Failures
from tests.core.drawn import specs
from tests.core.oracle import failures_of
from tests.core.test_machine import CoreMachine, users
from tests.core.test_machine_of_dependencies import DependentMachine

conditions = st.sampled_from(Condition)


class SweepMachine(DependentMachine):
    def __init__(self) -> None:
        super().__init__()
        self.sweeps: dict[str, int] = {}
        """Number of tasks of each, oldest first."""

    def of_sweep(self, sweep_id: str) -> dict[int, Task]:
        """The tasks that have their places in a sweep, by index."""
        return {
            each.spec.sweep.index: each
            for each in self.seen.values()
            if each.spec.sweep is not None
            and each.spec.sweep.id == sweep_id
            and not each.superseded
        }

    def failures(self, *sweep_ids: str) -> dict[str, Failures]:
        """What the engine finds out of sweeps that have ended."""
        known = failures_of(self.seen.values())
        return {
            each: known.get(each, Failures())
            for each in sweep_ids
            if each not in self.state.progress
        }

    def outcomes(self, tasks: list[Task]) -> dict[str, Status]:
        named = {each.task_id for task in tasks for each in task.spec.after or () if each.task_id}
        return {each: self.seen[each].status for each in named if each not in self.state.tasks}

    def numbered(self, user: str, spec: TaskSpec) -> Task:
        self.number += 1
        return Task(f"t{self.number:05}", user, spec, self.now)

    @rule(
        target=CoreMachine.attempts,
        user=users,
        spec=specs,
        size=st.integers(1, 4),
        most=st.integers(0, 2),
        how=st.sampled_from(["free", "whole", "index", "both"]),
        condition=conditions,
        hold=st.booleans(),
        data=st.data(),
    )
    def submit_sweep(
        self,
        user: str,
        spec: TaskSpec,
        size: int,
        most: int,
        how: str,
        condition: Condition,
        hold: bool,
        data: st.DataObject,
    ) -> object:
        """A sweep, which may start after all of another one, or index by index."""
        after: list[Dependency] = []
        followed: dict[str, list[str]] = {}
        if self.sweeps and how != "free":
            other = data.draw(st.sampled_from(sorted(self.sweeps)))
            if how != "index":
                after.append(Dependency("", condition, other))
            if how != "whole":
                size = self.sweeps[other]
                other = data.draw(
                    st.sampled_from([each for each, n in self.sweeps.items() if n == size])
                )
                after.append(Dependency("", condition, other, same_index=True))
                followed[other] = [each.id for _, each in sorted(self.of_sweep(other).items())]
        sweep_id = f"s{len(self.sweeps):03}"
        self.sweeps[sweep_id] = size
        tasks = []
        for index in range(size):
            member = SweepMember(sweep_id, index, {}, most)
            asked = replace(spec, sweep=member, hold=hold, after=tuple(after) or None)
            tasks.append(self.numbered(user, request.of_index(asked, index, followed)))
        whole = [each.sweep_id for each in after if not each.same_index]
        event = Submitted(self.now, tasks, (), self.outcomes(tasks), (), self.failures(*whole))
        return multiple(*self.begin(event))

    @rule(target=CoreMachine.attempts, user=users, spec=specs, condition=conditions, data=st.data())
    def submit_after_sweeps(
        self, user: str, spec: TaskSpec, condition: Condition, data: st.DataObject
    ) -> object:
        if not self.sweeps:
            return multiple()
        others = data.draw(st.sets(st.sampled_from(sorted(self.sweeps)), min_size=1, max_size=2))
        after = tuple(Dependency("", condition, each) for each in sorted(others))
        task = self.numbered(user, replace(spec, after=after))
        return multiple(
            *self.begin(Submitted(self.now, [task], (), {}, (), self.failures(*others)))
        )

    @rule(target=CoreMachine.attempts, data=st.data())
    def retry_sweep(self, data: st.DataObject) -> object:
        """Failed tasks are submitted again, each after what has its index now."""
        failed = {
            sweep_id: tasks
            for sweep_id in self.sweeps
            if (tasks := [t for t in self.of_sweep(sweep_id).values() if t.status is Status.FAILED])
        }
        if not failed:
            return multiple()
        sweep_id = data.draw(st.sampled_from(sorted(failed)))
        now = {each: {n: t.id for n, t in self.of_sweep(each).items()} for each in self.sweeps}
        tasks = [
            self.numbered(each.user, request.renewed(replace(each.spec, hold=False), now))
            for each in failed[sweep_id]
        ]
        replaced = [replace(each, superseded=True) for each in failed[sweep_id]]
        named = [on.sweep_id for t in tasks for on in t.spec.after or () if not on.task_id]
        failures = self.failures(sweep_id, *named)
        event = Submitted(self.now, tasks, (), self.outcomes(tasks), replaced, failures)
        return multiple(*self.begin(event))

    def follow(self, decision: Decision) -> None:
        """A failed task may be marked after its end."""
        for task in decision.changes:
            if task.superseded:
                assert self.seen[task.id].status is Status.FAILED
                self.seen[task.id] = task
        decision.changes = [each for each in decision.changes if not each.superseded]
        super().follow(decision)

    @rule(data=st.data())
    def explained(self, data: st.DataObject) -> None:
        """A task that waits for a sweep says how many of it are open, and what has failed."""
        waiting = [
            (task_id, each)
            for task_id in sorted(self.state.tasks)
            for each in self.state.blocked.open_conditions(task_id)
            if not each.task_id
        ]
        if not waiting:
            return
        _, on = data.draw(st.sampled_from(waiting))
        members = list(self.of_sweep(on.sweep_id).values())
        progress = self.state.progress.of(on.sweep_id)
        failed = {each.id for each in members if each.status is Status.FAILED}
        assert progress.live == sum(each.status not in ENDED for each in members) > 0
        assert progress.failures.number == len(failed)
        assert progress.failures.example in {*failed, None}


TestSweeps = SweepMachine.TestCase
TestSweeps.settings = settings(stateful_step_count=60)
