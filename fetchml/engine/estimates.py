"""When a waiting task is expected to start: from the run times and the waits of tasks like it.

An estimate is made when somebody asks: for the explanation of a waiting task, and for a request
that is only validated. The simulation (`core.scheduling.estimate`) covers
the whole queue, and its result is returned again for FRESH_MS. On a cluster the cluster's own
estimate counts; where it has none, the waits of similar tasks do. `server/assembly.py` chooses the
class.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from fetchml.core.model import ENDED, Change, Resources, Task
from fetchml.core.scheduling.estimate import (
    UNKNOWN_MS,
    Calibration,
    Durations,
    Estimate,
    estimate,
    estimate_one,
)
from fetchml.core.state import State
from fetchml.system.background import BackgroundWork
from fetchml.views import StartEstimate

WAITS_KEPT = 50
"""Newest waits of tasks with the same resources."""
WAITS_KEPT_OF_ALL = 200
WAITS_KINDS = 1_000
"""Kinds of tasks, by resources. The least recent one is forgotten first."""
_P50, _P90 = 5, 9
"""Of the ten quantiles."""


class WaitTimes:
    """Similar tasks are those of the same resources, else all."""

    def __init__(self, ended: Iterable[Task] = ()) -> None:
        """`ended`: the newest that are known, in any order."""
        self._times = TimesByKind[Resources](
            kept=WAITS_KEPT, kept_of_all=WAITS_KEPT_OF_ALL, kinds=WAITS_KINDS
        )
        for task in sorted(ended, key=lambda task: task.allocated_at or 0):
            self.learn(task)

    def learn(self, task: Task) -> None:
        """From a task that the cluster has started; a retry waited for other reasons too."""
        if task.allocated_at is not None and task.attempt == 1:
            self._times.add((task.spec.resources,), max(0, task.allocated_at - task.created_at))

    def start_of(self, task: Task) -> Estimate | None:
        """Estimate the start of a waiting task; `None` if too few have started."""
        quantiles = self._times.quantiles((task.spec.resources,))
        if not quantiles:
            return None
        return Estimate(task.created_at + quantiles[_P50], task.created_at + quantiles[_P90])


RUNS_KEPT = 100
"""Newest run times of similar tasks."""
RUNS_KEPT_OF_ALL = 400
RUNS_KINDS = 5_000
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
        self._times = TimesByKind[Kind](
            kept=RUNS_KEPT, kept_of_all=RUNS_KEPT_OF_ALL, kinds=RUNS_KINDS
        )
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


FRESH_MS = 5_000
"""Age up to which an estimate is returned again."""
AT_ONCE = 20
"""A queue of up to this many tasks is simulated in the event loop, in a few milliseconds."""
MAX_WAITING = 20_000
"""A longer queue has no estimates."""
MAX_WAITING_FOR_NEW = 2_000
"""A longer queue has no estimates of tasks that are not submitted: each takes a simulation."""
TURN_SECONDS = 0.2
"""Longest time for which an estimate of a new task waits for that of another user."""
FIRST_KEPT = 50_000
"""First estimates that are kept to be compared with the true starts."""

log = logging.getLogger(__name__)


class Estimates(ABC):
    """Used from one event loop."""

    def __init__(
        self, state: State, learn: Callable[[Task], None], clock: Callable[[], int]
    ) -> None:
        """`learn`: takes each task that has ended."""
        self._state = state
        self._learn = learn
        self._clock = clock
        self._first: dict[str, Estimate] = {}
        """By task id: the first estimate that was returned, until the task starts."""
        self.calibration = Calibration()

    @abstractmethod
    async def of(self, task: Task) -> StartEstimate | None:
        """Estimate the start of a waiting task.

        `None` if it can't start as things are now, or if nothing is known.
        """

    @abstractmethod
    async def of_new(self, task: Task) -> StartEstimate | None:
        """Estimate the start of a task that is not submitted. `None` as in `of`."""

    def committed(self, changes: Sequence[Change]) -> None:
        """Learn from tasks that have ended, and compare first estimates with the true starts."""
        for change in changes:
            task = change.task
            if task.status in ENDED:
                if not task.hidden and not change.is_after_end:
                    self._learn(task)
                self._first.pop(task.id, None)
            elif task.allocated_at is not None and task.id in self._first:
                first = self._first.pop(task.id)
                self.calibration = self.calibration.plus(first, task.allocated_at)

    def _remember(self, task_id: str, found: Estimate) -> None:
        if len(self._first) < FIRST_KEPT:
            self._first.setdefault(task_id, found)

    def _shown(self, found: Estimate | None) -> StartEstimate | None:
        if found is None:
            return None
        now = self._clock()
        tasks, held = self.calibration.tasks, self.calibration.held
        by_p50, by_p90 = held or (None, None)
        return StartEstimate(
            # A time in the past did not come true; the next simulation has newer facts.
            max(found.p50, now),
            max(found.p90, now),
            tasks,
            None if by_p50 is None else round(by_p50 * 100),
            None if by_p90 is None else round(by_p90 * 100),
        )


class ClusterEstimates(Estimates):
    def __init__(
        self,
        state: State,
        wait_times: WaitTimes,
        clock: Callable[[], int],
        begins_at: Callable[[str, int], int | None],
    ) -> None:
        """`begins_at`: see `Cluster`."""
        super().__init__(state, wait_times.learn, clock)
        self._wait_times = wait_times
        self._begins_at = begins_at

    async def of(self, task: Task) -> StartEstimate | None:
        if task.id not in self._state.queue and task.id not in self._state.handed_over:
            return None
        begins_at = self._begins_at(task.id, task.attempt)
        found = (
            self._wait_times.start_of(task) if begins_at is None else Estimate(begins_at, begins_at)
        )
        if found is not None:
            self._remember(task.id, found)
        return self._shown(found)

    async def of_new(self, task: Task) -> StartEstimate | None:
        return self._shown(self._wait_times.start_of(task))


class SimulatedEstimates(Estimates):
    """For the tasks of this host."""

    def __init__(self, state: State, run_times: RunTimes, clock: Callable[[], int]) -> None:
        super().__init__(state, run_times.learn, clock)
        self._run_times = run_times
        self._known: dict[str, Estimate] = {}
        self._known_at: int | None = None
        self._simulation: asyncio.Task[None] | None = None
        self._one_new = asyncio.Lock()
        self._asking = set[str]()
        """Users of the new tasks whose estimates are in progress."""
        self._background = BackgroundWork()

    async def of(self, task: Task) -> StartEstimate | None:
        """`None` also if too many tasks wait."""
        if len(self._state.queue) > MAX_WAITING or task.id not in self._state.queue:
            return None
        now = self._clock()
        known_at = self._known_at
        is_new = task.id not in self._known and known_at is not None and task.created_at >= known_at
        if known_at is None or now - known_at > FRESH_MS or is_new:
            await self._simulate(now)
        return self._shown(self._known.get(task.id))

    async def of_new(self, task: Task) -> StartEstimate | None:
        """One simulation at a time, and no second question of the same user meanwhile: people ask
        while they type.

        `None` also if it would be held back, if too many tasks wait, or if too many ask at the same
        time.
        """
        if len(self._state.queue) > MAX_WAITING_FOR_NEW:
            return None
        spec = task.spec
        if spec.hold or spec.after or (spec.start_after or 0) > self._clock():
            return None
        if task.user in self._asking:
            return None
        self._asking.add(task.user)
        # A thread goes on when its caller has gone: so does its turn.
        return await self._background.run_to_completion(self._new_in_turn(task))

    async def _new_in_turn(self, task: Task) -> StartEstimate | None:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._one_new.acquire()
            try:
                state, now = self._state.copy(), self._clock()
                state.enter(task, 0)
                state.wait(task, now)
                found = await asyncio.to_thread(estimate_one, state, now, self._run_times, task.id)
            finally:
                self._one_new.release()
        except TimeoutError:
            return None  # It is another user's turn.
        except Exception:
            log.exception("the start of a new task can't be estimated")
            return None
        finally:
            self._asking.remove(task.user)
        return self._shown(found)

    async def _simulate(self, now: int) -> None:
        """Simulate the queue. Callers that come meanwhile wait for the same simulation."""
        if self._simulation is None or self._simulation.done():
            self._simulation = asyncio.create_task(self._simulate_once(now))
        await asyncio.shield(self._simulation)

    async def _simulate_once(self, now: int) -> None:
        state = self._state
        try:
            if len(state.queue) <= AT_ONCE:
                known = estimate(state, now, self._run_times)
            else:
                known = await asyncio.to_thread(estimate, state.copy(), now, self._run_times)
        except Exception:
            # Explanations go on without an estimate.
            log.exception("the start times can't be estimated")
            known = {}
        self._known, self._known_at = known, now
        for task_id, found in known.items():
            if task_id in self._state.queue:
                self._remember(task_id, found)
