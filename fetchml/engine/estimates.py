"""Estimated start times of waiting tasks. One simulation of the whole queue serves all callers."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from fetchml.core.model import ENDED, Change, Task
from fetchml.core.scheduling.estimate import Calibration, Estimate, estimate, estimate_one
from fetchml.core.state import State
from fetchml.engine.run_times import RunTimes
from fetchml.engine.wait_times import WaitTimes
from fetchml.ports.cluster import Cluster
from fetchml.system.background import BackgroundWork
from fetchml.views import StartEstimate

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
KEPT = 50_000
"""First estimates that are kept to be compared with the true starts."""

log = logging.getLogger(__name__)


class Estimates:
    """Used from one event loop."""

    def __init__(
        self,
        state: State,
        run_times: RunTimes,
        clock: Callable[[], int],
        *,
        cluster: Cluster | None = None,
        wait_times: WaitTimes | None = None,
    ) -> None:
        """`cluster`, `wait_times`: set if a cluster starts the tasks. Its own estimates count, and
        where it has none, how long similar tasks waited."""
        self._cluster = cluster
        self._wait_times = wait_times or WaitTimes()
        self._state = state
        self._run_times = run_times
        self._clock = clock
        self._known: dict[str, Estimate] = {}
        self._known_at: int | None = None
        self._simulation: asyncio.Task[None] | None = None
        self._one_new = asyncio.Lock()
        self._asking = set[str]()
        """Users of the new tasks whose estimates are in progress."""
        self._background = BackgroundWork()
        self._first: dict[str, Estimate] = {}
        """By task id: the first estimate that was returned, until the task starts."""
        self.calibration = Calibration()

    def committed(self, changes: Sequence[Change]) -> None:
        """Learn how long tasks ran, and compare first estimates with the true starts."""
        for change in changes:
            task = change.task
            if task.status in ENDED:
                if not task.hidden and not change.is_after_end:
                    self._run_times.learn(task)
                    if self._cluster is not None:
                        self._wait_times.learn(task)
                self._first.pop(task.id, None)
            elif task.allocated_at is not None and task.id in self._first:
                first = self._first.pop(task.id)
                self.calibration = self.calibration.plus(first, task.allocated_at)

    async def of(self, task: Task) -> StartEstimate | None:
        """Estimate the start of a task.

        `None` if it can't start on the host as it is now, or if too many tasks wait.
        """
        if self._cluster is not None:
            return self._by_cluster(task, self._cluster)
        if len(self._state.queue) > MAX_WAITING or task.id not in self._state.queue:
            return None
        now = self._clock()
        known_at = self._known_at
        is_new = task.id not in self._known and known_at is not None and task.created_at >= known_at
        if known_at is None or now - known_at > FRESH_MS or is_new:
            await self._simulate(now)
        found = self._known.get(task.id)
        return None if found is None else self._shown(found, now)

    async def of_new(self, task: Task) -> StartEstimate | None:
        """Estimate the start of a task that is not submitted. One simulation at a time, and no
        second question of the same user meanwhile: people ask while they type.

        `None` if it can't start on the host as it is now, if it would be held back, if too many
        tasks wait, or if too many ask at the same time.
        """
        if self._cluster is not None:
            found = self._wait_times.start_of(task)
            return None if found is None else self._shown(found, self._clock())
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

    def _by_cluster(self, task: Task, cluster: Cluster) -> StartEstimate | None:
        if task.id not in self._state.queue and task.id not in self._state.handed_over:
            return None
        begins_at = cluster.begins_at(task.id, task.attempt)
        found = Estimate(begins_at, begins_at) if begins_at is not None else None
        found = found or self._wait_times.start_of(task)
        if found is None:
            return None
        if len(self._first) < KEPT:
            self._first.setdefault(task.id, found)
        return self._shown(found, self._clock())

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
        return None if found is None else self._shown(found, now)

    def _shown(self, found: Estimate, now: int) -> StartEstimate:
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
            if len(self._first) < KEPT and task_id in self._state.queue:
                self._first.setdefault(task_id, found)
