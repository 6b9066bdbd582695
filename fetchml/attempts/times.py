"""When an attempt may have started and ended, whatever its task wrote into the run folder.

The shim writes both times into a folder that the task can write too. So they are believed only
between two moments that the server knows itself: the opening of the gate and now. A task can still
claim to have run for less time than it did, which tells others no more than if it had ended then.
"""

import time
from collections.abc import Callable

from msgspec.structs import replace

from fetchml.core.model import AttemptEnd, Task
from fetchml.files.attempt_folder import AttemptFolder


class AttemptTimes:
    """All times are milliseconds since the epoch (UTC)."""

    def __init__(self, folder: AttemptFolder, task: Task, clock: Callable[[], int]) -> None:
        """`clock`: the engine's."""
        self._folder = folder
        self._task = task
        self._clock = clock
        self._since = time.monotonic()

    def gate_opened(self) -> None:
        """From now on the command may run, or has begun to under an earlier server."""
        self._since = time.monotonic()

    def started(self, told: int) -> int:
        """When the command started, as far as the shim is believed."""
        earliest, latest = self._bounds()
        return min(max(told, earliest), latest)

    def ended(self, end: AttemptEnd) -> AttemptEnd:
        """The end with times that are possible, the start not after it."""
        earliest, latest = self._bounds()
        at = min(max(end.at, earliest), latest)
        started_at = end.started_at
        if started_at is not None:
            started_at = min(max(started_at, earliest), at)
        return replace(end, at=at, started_at=started_at)

    def _bounds(self) -> tuple[int, int]:
        now = self._clock()
        opened_at = self._folder.opened_at()
        if opened_at is None:
            opened_at = self._task.allocated_at or self._task.created_at
        # The machine's clock may have been set back since; the time that passed is known.
        passed = int((time.monotonic() - self._since) * 1000)
        return opened_at, max(now, opened_at + passed)
