"""The answer to "what if": waits and use of a period as they were, and in a replay."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from fetchml.core.model import ENDED, Task, Value
from fetchml.core.whatif.recording import Recorder
from fetchml.core.whatif.replay import Host, replay
from fetchml.core.whatif.report import SAME_MS, Fidelity, Measure, Outcome, compare
from fetchml.core.whatif.request import Changed, number_of_gpus

MOST_TASKS = 100_000
"""Tasks of a period."""


class TooManyTasks(Exception):
    """The message is for users."""

    def __init__(self) -> None:
        super().__init__(f"the period has more than {MOST_TASKS:,} tasks: choose a shorter one")


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
    question: Question, before: Iterable[Task], changes: Iterable[tuple[int, int, Task]]
) -> WhatIf:
    """Replay a period, with nothing changed and with the changes. Raises TooManyTasks.

    `before`: tasks as they were when the period began: the live ones, and those that had ended
    lately. `changes`: numbers, times and versions of the changes since then, in their order.
    """
    since, until = question.since, question.until
    tasks = list(before)
    live = [task for task in tasks if task.status not in ENDED]
    recorder = Recorder(since, until, live, [task for task in tasks if task.status in ENDED])
    versions: list[tuple[int, Task]] = []
    for seq, at, task in changes:
        recorder.add(seq, at, task)
        if recorder.tasks > MOST_TASKS:
            raise TooManyTasks
        if at <= until:
            versions.append((at, task))
    recording = recorder.recording()
    measures = [Measure(since, until, recording.live) for _ in range(3)]
    recorded, same, other = measures
    for at, task in versions:
        recorded.add(at, task)
    versions.clear()
    assumed = replay(recording, question.host, same.add)
    if question.changes:
        assumed = replay(recording, question.other, other.add)
    fidelity = compare(recorded.starts, same.starts)
    replayed = other if question.changes else same
    capacity = replace(question.other.limits.capacity, gpu=number_of_gpus(question.other))
    notes = _notes(fidelity, recording.guessed, assumed, replayed.beyond(capacity))
    return WhatIf(
        since,
        until,
        question.changes,
        recorder.tasks,
        fidelity.starts,
        fidelity.same,
        _outcome(recorded, question.host),
        _outcome(replayed, question.other),
        (*question.notes, *notes),
    )


def _outcome(measure: Measure, host: Host) -> Outcome:
    return measure.outcome(host.limits, number_of_gpus(host) * host.limits.slots_per_gpu)


def _notes(fidelity: Fidelity, guessed: int, assumed: int, beyond: int) -> Iterable[str]:
    different = fidelity.starts - fidelity.same
    if different:
        yield (
            f"With nothing changed, {different} of {fidelity.starts} starts differ from the "
            f"recorded ones by {SAME_MS // 1000} s or more (largest difference: "
            f"{fidelity.largest_ms / 1000:.0f} s). They depended on what the journal does not "
            "have: other settings at that time, a server or launcher that was away, a GPU that was "
            "not free"
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
    if beyond:
        yield (
            f"{_tasks(beyond)} of the period requested more than the host of the replay has, and "
            "waited to its end"
        )


def _tasks(number: int) -> str:
    return "1 task" if number == 1 else f"{number:,} tasks"
