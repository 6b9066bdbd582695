"""Run times of tasks, and the expected run times of similar tasks."""

from collections import OrderedDict
from collections.abc import Iterable

from fetchml.core.model import Resources, Task
from fetchml.core.scheduling.estimate import UNKNOWN_MS, Durations

KEPT = 100
"""Newest run times of similar tasks."""
KEPT_OF_ALL = 400
KINDS = 5_000
"""Kinds of tasks, by name or by resources. The least recent one is forgotten first."""
ENOUGH = 3
"""Run times of one kind from which on those of less similar tasks are not used."""
QUANTILES = tuple((2 * number + 1) / 20 for number in range(10))

Kind = tuple[str, str] | Resources


class RunTimes:
    """Similar tasks are those of the same user and name, else of the same resources, else all.

    Calling it returns the expected run times of a task. It may be called in any thread.
    """

    def __init__(self, ended: Iterable[Task] = ()) -> None:
        """`ended`: the newest that are known, in any order."""
        self._kinds: OrderedDict[Kind, KnownTimes] = OrderedDict()
        self._all = KnownTimes(KEPT_OF_ALL)
        for task in sorted(ended, key=lambda task: task.ended_at or 0):
            self.learn(task)

    def learn(self, task: Task) -> None:
        """From a task that has ended, if its command ran at all. A service counts as none: it runs
        as long as somebody works in it."""
        if task.started_at is None or task.ended_at is None or task.service:
            return
        took = max(0, task.ended_at - task.started_at)
        for kind in _kinds(task):
            known = self._kinds.get(kind)
            if known is None:
                known = self._kinds[kind] = KnownTimes(KEPT)
            else:
                self._kinds.move_to_end(kind)
            known.add(took)
        self._all.add(took)
        while len(self._kinds) > KINDS:
            self._kinds.popitem(last=False)

    def __call__(self, task: Task) -> Durations:
        if task.service:
            return UNKNOWN_MS
        for kind in _kinds(task):
            known = self._kinds.get(kind)
            if known is not None and known.quantiles:
                return known.quantiles
        return self._all.quantiles or UNKNOWN_MS


class KnownTimes:
    """The newest times of one kind of tasks. Read in other threads: what it has is never changed,
    only exchanged."""

    __slots__ = ("_kept", "_quantiles", "_times")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._times: tuple[int, ...] = ()
        self._quantiles: Durations | None = None

    def add(self, took: int) -> None:
        self._times = (*self._times[1 - self._kept :], took)
        self._quantiles = None

    @property
    def quantiles(self) -> Durations:
        """Empty: too few to go by."""
        quantiles = self._quantiles
        if quantiles is None:
            times = sorted(self._times)
            enough = QUANTILES if len(times) >= ENOUGH else ()
            quantiles = self._quantiles = tuple(times[int(part * len(times))] for part in enough)
        return quantiles


def _kinds(task: Task) -> tuple[Kind, ...]:
    return (task.user, task.spec.job_name), task.spec.resources
