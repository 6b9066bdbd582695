"""Run times of tasks, and the expected run times of similar tasks."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

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
K = TypeVar("K")


class TimesByKind(Generic[K]):
    """Times of similar tasks, and of all. Read in other threads."""

    def __init__(self, *, kept: int, kept_of_all: int, kinds: int) -> None:
        """`kept`: the newest times of a kind. `kinds`: the least recent one is forgotten first."""
        self._kept = kept
        self._most = kinds
        self._kinds: OrderedDict[K, KnownTimes] = OrderedDict()
        self._all = KnownTimes(kept_of_all)

    def add(self, kinds: Iterable[K], took: int) -> None:
        for kind in kinds:
            known = self._kinds.get(kind)
            if known is None:
                known = self._kinds[kind] = KnownTimes(self._kept)
            else:
                self._kinds.move_to_end(kind)
            known.add(took)
        self._all.add(took)
        while len(self._kinds) > self._most:
            self._kinds.popitem(last=False)

    def quantiles(self, kinds: Iterable[K]) -> Durations:
        """Return those of the first kind of which enough is known, else of all; empty if that is
        too little too."""
        for kind in kinds:
            known = self._kinds.get(kind)
            if known is not None and known.quantiles:
                return known.quantiles
        return self._all.quantiles


class RunTimes:
    """Similar tasks are those of the same user and name, else of the same resources, else all.

    Calling it returns the expected run times of a task. It may be called in any thread.
    """

    def __init__(self, ended: Iterable[Task] = ()) -> None:
        """`ended`: the newest that are known, in any order."""
        self._times = TimesByKind[Kind](kept=KEPT, kept_of_all=KEPT_OF_ALL, kinds=KINDS)
        for task in sorted(ended, key=lambda task: task.ended_at or 0):
            self.learn(task)

    def learn(self, task: Task) -> None:
        """From a task that has ended, if its command ran at all. A service counts as none: it runs
        as long as somebody works in it."""
        if task.started_at is not None and task.ended_at is not None and not task.service:
            self._times.add(_kinds(task), max(0, task.ended_at - task.started_at))

    def __call__(self, task: Task) -> Durations:
        return (() if task.service else self._times.quantiles(_kinds(task))) or UNKNOWN_MS


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
