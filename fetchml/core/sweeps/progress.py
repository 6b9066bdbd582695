"""The progress of each sweep: the numbers of its live and failed tasks.

A sweep without live tasks is not here. Until one of its failed tasks is submitted again nothing
changes, and the numbers come with the event that needs them. A task that was submitted again in its
sweep counts no more; one that was deleted still does.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fetchml.core.model import Task


class Failures(NamedTuple):
    """Failed tasks of one sweep."""

    number: int = 0
    example: str | None = None
    """Id of one of them; `None` if there is none, or none is known."""


NO_FAILURES = Failures()


class Progress(NamedTuple):
    """Numbers of tasks of one sweep."""

    user: str
    live: int
    failures: Failures


_ENDED = Progress("", 0, NO_FAILURES)


class LiveSweeps:
    """All sweeps that have live tasks."""

    def __init__(self) -> None:
        self._sweeps: dict[str, Progress] = {}
        self._ended: set[str] = set()
        """Sweeps without live tasks that are here until `drop_ended`."""

    def copy(self) -> "LiveSweeps":
        """Return a copy that does not change with this one."""
        other = LiveSweeps()
        other._sweeps = dict(self._sweeps)
        return other

    def __contains__(self, sweep_id: str) -> bool:
        return sweep_id in self._sweeps

    def __len__(self) -> int:
        return len(self._sweeps)

    def of(self, sweep_id: str) -> Progress:
        """Return the progress of a sweep; of one that is not here, that all of it has completed."""
        return self._sweeps.get(sweep_id, _ENDED)

    def learn(self, failures: Mapping[str, Failures], replaced: Sequence["Task"] = ()) -> None:
        """Note failed tasks of sweeps that are not here, and those that are submitted again, in any
        sweep."""
        for sweep_id, failed in failures.items():
            if sweep_id not in self._sweeps:
                self._sweeps[sweep_id] = Progress("", 0, failed)
                self._ended.add(sweep_id)
        for task in replaced:
            if task.spec.sweep is None or task.spec.sweep.id not in self._sweeps:
                continue
            progress = self._sweeps[task.spec.sweep.id]
            number, example = progress.failures
            left = Failures(max(0, number - 1), None if example == task.id else example)
            self._sweeps[task.spec.sweep.id] = progress._replace(failures=left)

    def drop_ended(self) -> None:
        """Forget the sweeps that have no live task after all."""
        for sweep_id in self._ended:
            if not self._sweeps[sweep_id].live:
                del self._sweeps[sweep_id]
        self._ended.clear()

    def enter(self, task: "Task", sweep_id: str) -> None:
        """Add a live task."""
        progress = self.of(sweep_id)
        self._sweeps[sweep_id] = Progress(task.user, progress.live + 1, progress.failures)

    def leave(self, task: "Task", sweep_id: str) -> Progress:
        """Count a task that has ended, and return the sweep's progress from now on."""
        user, live, failures = self._sweeps[sweep_id]
        if task.failure_reason is not None:
            failures = Failures(failures.number + 1, failures.example or task.id)
        progress = Progress(user, live - 1, failures)
        if progress.live:
            self._sweeps[sweep_id] = progress
        else:
            del self._sweeps[sweep_id]
        return progress
