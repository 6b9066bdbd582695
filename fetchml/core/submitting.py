"""New tasks enter the state and wait."""

from fetchml.core.dependencies import outcomes
from fetchml.core.events import Decision, Submitted
from fetchml.core.footprint import spec_footprint
from fetchml.core.state import State


def submit(state: State, decision: Decision, event: Submitted) -> None:
    if event.failures or event.replaced:
        outcomes.learn(state, event)
    sizes = event.footprints or [spec_footprint(task.spec) for task in event.tasks]
    for new, size in zip(event.tasks, sizes, strict=True):
        state.enter(new, size)
        task = new if new.spec.after is None else outcomes.block(state, new, event.ended)
        state.wait(task, event.now)
        decision.changes.append(task)
    if event.failures:
        state.progress.drop_ended()
    decision.changes += event.replaced
