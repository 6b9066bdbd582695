"""New tasks enter the state and wait."""

from fetchml.core.dependencies import outcomes
from fetchml.core.events import Decision, Submitted
from fetchml.core.footprint import footprint
from fetchml.core.scheduling import arrival
from fetchml.core.state import State


def submit(state: State, decision: Decision, event: Submitted) -> None:
    if event.failures or event.replaced:
        outcomes.learn(state, event)
    batch = state.arrival if event.part else None
    ended = event.ended if batch is None else batch.ended
    sizes = event.footprints or [footprint(task.spec) for task in event.tasks]
    for new, size in zip(event.tasks, sizes, strict=True):
        if batch is None:
            state.enter(new, size)
        else:
            state.enter(new, 0)  # It is counted already.
            batch.entered(size)
        task = new if new.spec.after is None else outcomes.block(state, new, ended)
        state.wait(task, event.now)
        decision.changes.append(task)
    if batch is not None:
        arrival.end_if_whole(state)
    if event.failures:
        state.progress.drop_ended()
    decision.changes += event.replaced
