"""The order in which decisions reach the disk and what is outside."""

import asyncio
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import pytest
from msgspec.structs import replace

from fetchml.adapters.duckdb.journal_writer import encode_task
from fetchml.core.events import (
    Decision,
    DiscardAttempt,
    Effect,
    Event,
    LauncherChanged,
    NeverStarted,
    RunAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.model import Change, Resources, Sender, Task
from fetchml.core.state import Limits, State
from fetchml.engine import dispatcher
from fetchml.errors import BadRequest
from fetchml.ports.store import Document
from fetchml.system.clock import Clock
from tests.support.tasks import task

TASK = task("t")


class SlowDisk:
    """Nothing is durable until the test says so."""

    def __init__(self) -> None:
        self.handed_in: list[Change] = []
        self.encoded: list[str] = []
        self.documents: list[Document] = []
        self.durable: list[asyncio.Future[None]] = []
        """Of each call."""

    def encode(self, task: Task) -> str:
        return encode_task(task)

    def append(
        self,
        changes: Sequence[Change],
        *,
        followed: bool = False,
        documents: Sequence[Document] = (),
        encoded: Sequence[str] = (),
    ) -> asyncio.Future[None]:
        assert [*encoded] == [encode_task(each.task) for each in changes[: len(encoded)]]
        self.handed_in += changes
        self.encoded += encoded
        self.documents += documents
        self.durable.append(asyncio.get_running_loop().create_future())
        return self.durable[-1]


def dispatcher_on(disk: SlowDisk, state: State, done: list[Effect]) -> dispatcher.Dispatcher:
    store: Any = disk
    made = dispatcher.Dispatcher(state, store, 0, Clock())
    made.handle(RunAttempt, done.append)
    made.handle(DiscardAttempt, done.append)
    return made


def one_slot() -> State:
    return State(Limits(Resources(), 1, 0, "box"))


async def test_effects_without_changes_wait_for_earlier_effects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attempt that is thrown away right after it was decided must have begun: else nobody would
    know of it, and its task would wait for ever."""
    decisions = [
        Decision([TASK], [RunAttempt(TASK)]),
        Decision([], [DiscardAttempt("t")]),
        Decision([], [DiscardAttempt("other")]),
    ]

    def scripted(state: State, event: Event) -> Decision:
        return decisions.pop(0)

    monkeypatch.setattr(dispatcher, "step", scripted)
    disk, state, done = SlowDisk(), one_slot(), list[Effect]()
    owner = dispatcher_on(disk, state, done)
    owner.apply(TimePassed(1))
    owner.apply(TimePassed(1))
    assert done == []
    owner.committed(disk.handed_in)
    assert done == [RunAttempt(TASK), DiscardAttempt("t")]
    owner.apply(TimePassed(1))
    assert done[2:] == [DiscardAttempt("other")], "nothing waits for the disk any more"


async def test_unstorable_submit_is_rejected_before_the_core_decides() -> None:
    disk, state, done = SlowDisk(), one_slot(), list[Effect]()
    owner = dispatcher_on(disk, state, done)
    owner.apply(LauncherChanged(1, available=True))
    bad = replace(TASK, sender=Sender("key", "fe80::1%\udcff"))
    with pytest.raises(BadRequest):
        owner.apply(Submitted(1, [bad]))
    assert state.tasks == {}
    assert disk.handed_in == []
    owner.apply(Submitted(1, [TASK]))
    assert [change.seq for change in disk.handed_in] == [1, 2], "no number was lost"
    assert disk.encoded == [encode_task(TASK)], "its start is a second change, and encoded later"
    owner.committed(disk.handed_in)
    assert [type(effect) for effect in done] == [RunAttempt]


async def test_unstorable_text_of_other_events_is_mended() -> None:
    disk, state = SlowDisk(), one_slot()
    owner = dispatcher_on(disk, state, [])
    owner.apply(LauncherChanged(1, available=True))
    owner.apply(Submitted(1, [TASK]))
    owner.apply(NeverStarted(2, "t", 1, "no such file: \udcff", permanent=True))
    assert disk.handed_in[-1].task.error == "no such file: \N{REPLACEMENT CHARACTER}"
    assert state.tasks == {}


async def test_failed_append_leaves_no_gap_in_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it was that it could not take."""
    disk, state, done = SlowDisk(), one_slot(), list[Effect]()
    owner = dispatcher_on(disk, state, done)
    append = disk.append
    monkeypatch.setattr(disk, "append", Mock(side_effect=ValueError))
    with pytest.raises(ValueError):  # noqa: PT011 - the very one
        owner.record(1, [TASK])
    monkeypatch.setattr(disk, "append", append)
    owner.record(1, [TASK])
    assert [change.seq for change in disk.handed_in] == [1]
