"""The order in which decisions reach the disk and what is outside."""

import asyncio
from collections.abc import Sequence
from datetime import UTC
from typing import cast

import pytest

from fetchml import writer
from fetchml.clock import Clock
from fetchml.core.events import AbandonAttempt, Decision, Effect, Event, RunAttempt, TimePassed
from fetchml.core.model import Change, Resources, Task, TaskSpec
from fetchml.core.state import Limits, State
from fetchml.ports import Restored, Store
from fetchml.tally import Tally

TASK = Task("t", "alice", TaskSpec("job", "image", ("run",)), 1)


class SlowDisk:
    """Nothing is durable until the test says so."""

    def __init__(self) -> None:
        self.handed_in: list[Change] = []

    def append(self, changes: Sequence[Change], *, followed: bool = False) -> asyncio.Future[None]:
        self.handed_in += changes
        return asyncio.get_running_loop().create_future()


async def test_what_changes_nothing_waits_behind_what_waits_for_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attempt that is thrown away right after it was decided must have begun: else nobody would
    know of it, and its task would wait for ever."""
    decisions = [
        Decision([TASK], [RunAttempt(TASK)]),
        Decision([], [AbandonAttempt("t")]),
        Decision([], [AbandonAttempt("other")]),
    ]

    def scripted(state: State, event: Event) -> Decision:
        return decisions.pop(0)

    monkeypatch.setattr(writer, "step", scripted)
    disk, done = SlowDisk(), list[Effect]()
    owner = writer.Writer(
        State(Limits(Resources(), 1, 0, "box")),
        Restored("box", 0, 0, [], {}, {}),
        cast("Store", disk),
        Tally(UTC, "1970-01-01", 0, 0),
        clock=Clock(),
        act=done.append,
        service_changed=lambda _: None,
    )
    owner.apply(TimePassed(1))
    owner.apply(TimePassed(1))
    assert done == []
    owner.on_durable(disk.handed_in)
    assert done == [RunAttempt(TASK), AbandonAttempt("t")]
    owner.apply(TimePassed(1))
    assert done[2:] == [AbandonAttempt("other")], "nothing waits for the disk any more"
