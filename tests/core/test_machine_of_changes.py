"""The core's machine in a world in which users change their tasks at any time."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, multiple, rule

from fetchml.core.events import UpdateRequested
from fetchml.core.model import Status
from fetchml.core.requests.update import TaskUpdate
from tests.core.test_machine import CoreMachine


class ChangingMachine(CoreMachine):
    @rule(target=CoreMachine.attempts, data=st.data(), priority=st.integers(1, 10))
    def change(self, data: st.DataObject, priority: int) -> object:
        """A task gets another priority and a label."""
        if not self.seen:
            return multiple()
        task_id = data.draw(st.sampled_from(sorted(self.seen)))
        before = self.seen[task_id]
        update = TaskUpdate(priority, {"changed": str(self.now)})
        begun = self.begin(UpdateRequested(self.now, task_id, update))
        if before.shown_status is not Status.QUEUED:
            assert self.seen[task_id].spec.priority == before.spec.priority
        return multiple(*begun)

    @rule(
        target=CoreMachine.attempts,
        data=st.data(),
        hold=st.sampled_from([None, True, False, False]),
        after=st.sampled_from([None, 0, 1, 100_000]),
    )
    def hold(self, data: st.DataObject, hold: bool | None, after: int | None) -> object:
        """A task is held, released, or asked to start later."""
        if not self.seen:
            return multiple()
        task_id = data.draw(st.sampled_from(sorted(self.seen)))
        before = self.seen[task_id]
        start_after = after and self.now + after
        update = TaskUpdate(hold=hold, start_after=start_after)
        begun = self.begin(UpdateRequested(self.now, task_id, update))
        if before.shown_status is Status.QUEUED and before.cancel is None and hold:
            assert self.seen[task_id].spec.hold
            assert self.seen[task_id].shown_status is Status.QUEUED
        return multiple(*begun)

    @rule(
        target=CoreMachine.attempts,
        data=st.data(),
        seconds=st.sampled_from([0, 1, 60, 100_000]),
    )
    def limit(self, data: st.DataObject, seconds: int) -> object:
        """A task gets another time limit, unless it is over, or ends already."""
        if not self.seen:
            return multiple()
        task_id = data.draw(st.sampled_from(sorted(self.seen)))
        before = self.seen[task_id]
        if 0 < seconds <= before.spec.warn_seconds:
            return multiple()  # It is refused before there is an event.
        begun = self.begin(UpdateRequested(self.now, task_id, TaskUpdate(timeout_seconds=seconds)))
        after = self.seen[task_id]
        if before.spec.timeout_seconds != seconds and after.spec.timeout_seconds == seconds:
            assert before.status in (Status.QUEUED, Status.PREPARING, Status.RUNNING)
            assert before.cancel is None
            assert before.halt is None
        return multiple(*begun)

    @invariant()
    def none_is_kept_back_without_a_cause(self) -> None:
        if hasattr(self, "state"):
            for task in self.state.tasks.values():
                if task.id in self.state.held_back:
                    later = (task.spec.start_after or 0) > self.now
                    assert task.spec.hold or later or task.id in self.state.blocked


TestChanges = ChangingMachine.TestCase
TestChanges.settings = settings(stateful_step_count=60)
