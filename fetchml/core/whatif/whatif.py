"""The answer to "what if": waits and use of a period as they were, and in a replay."""

from collections.abc import Iterable, Sequence

import msgspec

from fetchml.core.model import Task, Value
from fetchml.core.whatif.recording import Recorder
from fetchml.core.whatif.replay import Host, replay
from fetchml.core.whatif.report import SAME_MS, Measure, Outcome, compare

MOST_TASKS = 100_000
"""Tasks of a period."""


class TooManyTasks(Exception):
    """The message is for users."""

    def __init__(self) -> None:
        super().__init__(f"the period has more than {MOST_TASKS:,} tasks: choose a shorter one")


class Changed(Value, frozen=True):
    """A setting of a replay that is not as on the server."""

    name: str
    was: str
    now: str


class Question(msgspec.Struct, frozen=True):
    since: int
    until: int
    host: Host
    """As it is."""
    other: Host
    """As it might be."""
    changes: tuple[Changed, ...] = ()
    """Differences of the two."""
    notes: tuple[str, ...] = ()
    """Facts about the recording that limit what a replay can show."""


class WhatIf(Value, frozen=True):
    since: int
    until: int
    changes: tuple[Changed, ...]
    tasks: int
    """Live in the period."""
    starts: int
    """Starts in the recording or in a replay with nothing changed."""
    same_starts: int
    """Those of them at which both agree."""
    recorded: Outcome
    replayed: Outcome
    notes: tuple[str, ...]
    """For users: where the replay may differ from what would have been."""


def what_if(
    question: Question, before: Sequence[Task], changes: Iterable[tuple[int, int, Task]]
) -> WhatIf:
    """Replay a period, with nothing changed and with the changes. Raises TooManyTasks.

    `before`: tasks as they were when the period began: the live ones, and those that had ended
    lately. `changes`: numbers, times and versions of the changes since then, in their order.
    """
    since, until = question.since, question.until
    recorder = Recorder(since, until, before)
    versions: list[tuple[int, Task]] = []
    for seq, at, task in changes:
        recorder.add(seq, at, task)
        if recorder.tasks > MOST_TASKS:
            raise TooManyTasks
        versions.append((at, task))
    recording = recorder.recording
    recorded, same, other = (Measure(since, until, recording.live) for _ in range(3))
    for at, task in versions:
        recorded.add(at, task)
    versions.clear()
    assumed = replay(recording, question.host, same.add)
    if question.changes:
        assumed = replay(recording, question.other, other.add)
    starts, same_starts = compare(recorded.starts, same.starts)
    return WhatIf(
        since,
        until,
        question.changes,
        recorder.tasks,
        starts,
        same_starts,
        recorded.outcome(question.host),
        (other if question.changes else same).outcome(question.other),
        (*question.notes, *_notes(starts - same_starts, recording.guessed, assumed)),
    )


def _notes(different: int, guessed: int, assumed: int) -> Iterable[str]:
    if different:
        yield (
            f"With nothing changed, {different:,} starts differ from the recorded ones by "
            f"{SAME_MS // 1000} s or more. They depended on what the journal does not have: other "
            "settings at that time, a server or launcher that was away, a GPU that was not free"
        )
    if guessed:
        yield (
            f"{_tasks(guessed)} began before the oldest change in the journal; what they were like "
            "when the period began follows from later changes"
        )
    if assumed:
        yield (
            f"{_tasks(assumed)} that did not run in the period ran in the replay, for the median "
            "time of tasks with the same user and name, or of all tasks"
        )


def _tasks(number: int) -> str:
    return "1 task" if number == 1 else f"{number:,} tasks"
