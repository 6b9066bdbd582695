"""The best runs of a sweep by a metric that its tasks report."""

import asyncio
import heapq
from collections.abc import Sequence

from msgspec.structs import replace

from fetchml.core.model import Principal, Status, Task
from fetchml.core.sweeps import ranking
from fetchml.core.sweeps.ranking import DEFAULT_RESULTS, MAX_NAMES, Goal
from fetchml.engine.slow_reads import SlowReads
from fetchml.engine.sweeps.service import Sweeps
from fetchml.engine.sweeps.views import SweepResult, SweepResults
from fetchml.engine.tasks.results import AT_ONCE, ResultLists
from fetchml.errors import BadRequest
from fetchml.pages import PART_BYTES
from fetchml.ports.store import Store, TaskQuery

PAGE = 200
"""Tasks that are in memory together."""
TOO_LONG = "The results take too long to read: try again when the server is less busy"


class SweepRanking:
    """Used from one event loop."""

    def __init__(
        self, sweeps: Sweeps, store: Store, results: ResultLists, slow_reads: SlowReads
    ) -> None:
        self._sweeps = sweeps
        self._store = store
        self._results = results
        self._slow_reads = slow_reads

    async def best(
        self,
        who: Principal,
        sweep_id: str,
        metric: str,
        goal: str = "",
        limit: int | None = None,
    ) -> SweepResults:
        """Return the completed tasks of a sweep that have the best values of a metric. Raises
        NotFound, BadRequest."""
        goal, limit = goal or Goal.MIN, DEFAULT_RESULTS if limit is None else limit
        if wrong := ranking.fault(metric, goal, limit):
            raise BadRequest(f"{wrong.field}: {wrong.rule}")
        sweep = self._sweeps.get(who, sweep_id).sweep
        sign = 1.0 if goal == Goal.MIN else -1.0
        best: list[tuple[float, int, SweepResult]] = []
        """A heap with the worst of them at its top: by value, then by the order of creation."""
        names: dict[str, None] = {}
        total = seen = 0
        query = TaskQuery(
            states=(Status.COMPLETED,),
            sweep_id=sweep.id,
            limit=PAGE,
            most_bytes=PART_BYTES,
            brief=True,
        )
        async with self._slow_reads.turn(who.user, TOO_LONG):
            while tasks := (await self._store.list_tasks(query)).tasks:
                for found in await self._read(tasks, metric):
                    seen += 1
                    names.update(dict.fromkeys(list(found.metrics)[: MAX_NAMES - len(names)]))
                    if metric not in found.metrics:
                        continue
                    total += 1
                    # Of equal ones the earliest created, which comes last here, is the better one.
                    entry = (-sign * found.value, seen, found)
                    if len(best) < limit:
                        heapq.heappush(best, entry)
                    else:
                        heapq.heappushpop(best, entry)
                query = replace(query, before=(tasks[-1].created_at, tasks[-1].id))
        ranked = [found for _, _, found in sorted(best, key=_rank, reverse=True)]
        return SweepResults(ranked, total, sorted(names))

    async def _read(self, tasks: Sequence[Task], metric: str) -> list[SweepResult]:
        found: list[SweepResult] = []
        for first in range(0, len(tasks), AT_ONCE):
            some = tasks[first : first + AT_ONCE]
            for each in await asyncio.gather(*map(self._results.of_task, some)):
                value = each.metrics.get(metric, 0.0)
                found.append(SweepResult(each.task, value, each.metrics))
        return found


def _rank(entry: tuple[float, int, SweepResult]) -> tuple[float, int]:
    return entry[:2]
