"""Results of an experiment: its runs with their parameters and the numbers that they report."""

import asyncio
from collections.abc import Sequence
from contextlib import closing

from fetchml.core.model import ENDED, Principal, Task
from fetchml.core.reported_metrics import MAX_METRICS_BYTES, METRICS_FILE, metrics_in
from fetchml.core.requests.listing import page_fault
from fetchml.engine.experiments import Experiments
from fetchml.engine.tasks.tasks import Tasks
from fetchml.errors import BadRequest, NotFound
from fetchml.files.task_files import TaskFiles
from fetchml.ports.store import TaskQuery
from fetchml.views import ExperimentResult, ExperimentResults

DEFAULT_RESULTS = 100
AT_ONCE = 20
"""Files that are read together, off the event loop."""


class ResultLists:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(self, experiments: Experiments, tasks: Tasks, files: TaskFiles) -> None:
        self._experiments = experiments
        self._tasks = tasks
        self._files = files

    async def list(
        self,
        who: Principal,
        experiment_id: str,
        limit: int | None = None,
        offset: int | None = None,
    ) -> ExperimentResults:
        """Return the runs that `who` may see, newest first. Raises NotFound, BadRequest."""
        limit = DEFAULT_RESULTS if limit is None else limit
        offset = offset or 0
        if fault := page_fault(limit, offset):
            raise BadRequest(fault)
        found = self._experiments.get(who, experiment_id)
        query = TaskQuery(experiment_id=found.id, limit=limit, offset=offset)
        page = await self._tasks.list(who, query)
        results: list[ExperimentResult] = []
        for first in range(0, len(page.tasks), AT_ONCE):
            results += await self._read(page.tasks[first : first + AT_ONCE])
        return ExperimentResults(results, page.total)

    async def _read(self, tasks: Sequence[Task]) -> Sequence[ExperimentResult]:
        return await asyncio.gather(*map(self.of_task, tasks))

    async def of_task(self, task: Task) -> ExperimentResult:
        """Return a task with the numbers that it reports."""
        if task.status not in ENDED:
            return ExperimentResult(task, {})
        try:
            file = await self._files.open_output(task.id, METRICS_FILE)
        except NotFound:
            return ExperimentResult(task, {})
        with closing(file):
            content = await file.read(MAX_METRICS_BYTES + 1)
        return ExperimentResult(task, metrics_in(content))
