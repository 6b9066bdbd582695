"""The core's machine in a world in which users change their tasks at any time."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import multiple, rule

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


TestChanges = ChangingMachine.TestCase
TestChanges.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
