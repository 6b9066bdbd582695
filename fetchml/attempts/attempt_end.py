"""The end of an attempt: the shim's record, what the launcher adds, and bounds on its times.

The shim writes the start and the end into a folder that the task can write too. The server clamps
both times to the interval that it measures itself, from the opening of the gate until now. A task
can still claim to have run for less time than it did, with no more effect than an earlier exit.
"""

import time
from collections.abc import Callable

from msgspec.structs import replace

from fetchml.core.model import AttemptEnd, Task
from fetchml.core.verdict import may_be_from_outside
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.attempt_records import StartRecord
from fetchml.ports.launcher import AttemptExit

NO_RECORD = "the attempt disappeared without an exit record"


def end_of(
    recorded: AttemptEnd | None, started: StartRecord | None, seen: AttemptExit, now: int
) -> AttemptEnd:
    """`recorded`: `None` if the shim could not record the end. `seen`: what the launcher saw, which
    may be older than the record: only an end by a signal can have a cause outside of the task."""
    if recorded is None:
        started_at = started.at if started is not None else None
        end = AttemptEnd(at=now, started_at=started_at, lost=seen.lost or NO_RECORD)
    elif may_be_from_outside(recorded):
        end = replace(recorded, lost=seen.lost)
    else:
        return replace(recorded, out_of_memory=recorded.out_of_memory or seen.out_of_memory)
    return replace(
        end,
        out_of_memory=end.out_of_memory or seen.out_of_memory,
        timed_out=end.timed_out or seen.timed_out,
        no_image=recorded is None and started is None and seen.no_image,
    )


class AttemptTimes:
    """All times are milliseconds since the epoch (UTC)."""

    def __init__(self, folder: AttemptFolder, task: Task, clock: Callable[[], int]) -> None:
        """`clock` is the engine's."""
        self._folder = folder
        self._task = task
        self._clock = clock
        self._since = time.monotonic()
        self._opened_at: int | None = None

    def gate_opened(self) -> None:
        """Record that the command may run from now on, or has run since an earlier server."""
        self._since = time.monotonic()

    def started(self, recorded: int) -> int:
        """Return the start time in the shim's record, clamped to what is possible."""
        earliest, latest = self._bounds()
        return min(max(recorded, earliest), latest)

    def ended(self, end: AttemptEnd) -> AttemptEnd:
        """Return the end with its times clamped, the start not after the end."""
        earliest, latest = self._bounds()
        at = min(max(end.at, earliest), latest)
        started_at = end.started_at
        if started_at is not None:
            started_at = min(max(started_at, earliest), at)
        return replace(end, at=at, started_at=started_at)

    def _bounds(self) -> tuple[int, int]:
        now = self._clock()
        if self._opened_at is None:  # It is that of the first opening.
            self._opened_at = self._folder.opened_at()
        opened_at = self._opened_at
        if opened_at is None:
            opened_at = self._task.allocated_at or self._task.created_at
        # The host's clock may have been set back since; the time that passed is known.
        passed = int((time.monotonic() - self._since) * 1000)
        return opened_at, max(now, opened_at + passed)
