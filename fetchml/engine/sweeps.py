"""Sweeps: many tasks of one request, created together, and then listed, cancelled, ranked and
submitted again as one."""

import asyncio
import heapq
from array import array
from collections.abc import Callable, Coroutine, Hashable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import idempotency as idempotency_keys
from fetchml.core import permissions, reported_metrics
from fetchml.core.audit import Action
from fetchml.core.events import ManyCancelRequested
from fetchml.core.footprint import spec_footprint
from fetchml.core.model import Idempotency, Principal, Status, Task, TaskSpec, User
from fetchml.core.reported_metrics import DEFAULT_RESULTS, MAX_METRIC_NAMES, Goal
from fetchml.core.requests import rerun, submission
from fetchml.core.requests.checks import MAX_INT, Violation
from fetchml.core.requests.listing import DEFAULT_LIMIT, page_fault
from fetchml.core.requests.project_file import NO_PROJECT, ProjectFile
from fetchml.core.requests.submission import Accepted
from fetchml.core.snapshots import PROJECT_FILE
from fetchml.core.state import State
from fetchml.core.sweeps import definition, model
from fetchml.core.sweeps.definition import Definition
from fetchml.core.sweeps.model import Mode, Sweep
from fetchml.core.sweeps.tasks import FILLED, Expansion
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.ended_tasks import EndedTasks
from fetchml.engine.slow_reads import SlowReads
from fetchml.engine.submissions import Submissions, require_valid_key
from fetchml.engine.sweep_records import KIND, TEMPLATES, KnownSweeps
from fetchml.engine.tasks.dependencies import Dependencies
from fetchml.engine.tasks.results import AT_ONCE, ResultLists
from fetchml.engine.tasks.sources import as_placed
from fetchml.errors import (
    BadRequest,
    FieldViolation,
    Forbidden,
    NotFound,
    Unavailable,
    ValidationFailed,
)
from fetchml.pages import PART_BYTES
from fetchml.ports.store import Document, Store, TaskQuery
from fetchml.snapshots.snapshot_service import Snapshots
from fetchml.system.background import BackgroundWork
from fetchml.system.locks import KeyedLocks
from fetchml.system.pacing import Pace
from fetchml.system.threads import WorkerThreads


class SweepView(NamedTuple):
    """A sweep with the state of its tasks."""

    sweep: Sweep
    counts: Mapping[Status, int]
    """Tasks by the status that clients see."""
    tasks: Sequence[Task] = ()
    """The first tasks of a sweep that was only validated."""

    @property
    def deleted(self) -> int:
        return max(0, self.sweep.total - sum(self.counts.values()))


class SweepPage(NamedTuple):
    sweeps: Sequence[SweepView]
    """Newest first."""
    total: int
    """All sweeps that match and that the caller may see."""


class SweepTotals(NamedTuple):
    """Of all users together."""

    sweeps: int
    open: int
    """Sweeps with tasks that have not ended."""
    tasks: Mapping[Status, int]
    """Tasks of all sweeps by the status that clients see."""


class SweepChange(NamedTuple):
    """A sweep after its tasks were cancelled or submitted again."""

    sweep: SweepView
    tasks: int
    """Number of the tasks that were changed."""


class SweepResult(NamedTuple):
    """A completed task of a sweep."""

    task: Task
    value: float
    """Of the metric that the caller asked for."""
    metrics: Mapping[str, float]


class SweepResults(NamedTuple):
    results: Sequence[SweepResult]
    """The best first."""
    total: int
    """Completed tasks that have the metric."""
    metric_names: Sequence[str]
    """Names of the metrics that the completed tasks report."""


T = TypeVar("T")

MAX_TASK_BYTES = 64 << 20
"""Memory of all tasks of one sweep."""
"""Time for which an Idempotency-Key names the sweep that it created."""
SHOWN_TASKS = 5
"""Tasks in the reply to a request that is only validated."""
DRAWN_AT_ONCE = 2_000
"""Numbers that are drawn for one sweep before it is another one's turn."""
CANCELLED_AT_ONCE = 100
"""Tasks of one decision."""
RETRIED_AT_ONCE = 500
_TOO_LARGE = FieldViolation(
    "task",
    f"all tasks of a sweep may take {MAX_TASK_BYTES >> 20} MiB of the server's memory, and these "
    "take more: use fewer values, or pass large texts in a snapshot",
)


class _Prepared(NamedTuple):
    """A sweep whose tasks are valid."""

    sweep: Sweep
    template: Mapping[str, object]
    """The fields of its request that may have placeholders."""
    tasks: Sequence[Accepted]
    """A validation repeats the last in place of those that it does not make."""
    ended: Mapping[str, Status]
    """Outcomes of tasks that they start after, as far as known."""


class Sweeps:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        known: KnownSweeps,
        store: Store,
        state: State,
        submissions: Submissions,
        dependencies: Dependencies,
        ended: EndedTasks,
        dispatcher: Dispatcher,
        audit: Audit,
        *,
        snapshots: Snapshots,
        clock: Callable[[], int],
        private: bool,
    ) -> None:
        self._records = known.records
        self._counts = known.counts
        self._store = store
        self._state = state
        self._submissions = submissions
        self._dependencies = dependencies
        self._ended = ended
        self._dispatcher = dispatcher
        self._audit = audit
        self._snapshots = snapshots
        self._clock = clock
        self._private = private
        self._turns = KeyedLocks()
        """A user's sweeps are created one after the other, and so are the changes of one sweep."""
        self._drawing = WorkerThreads("sweep-draws", 1)
        self._expanding = asyncio.Lock()
        """The tasks of one sweep at a time are in memory before they count as live ones."""
        self._background = BackgroundWork()

    def totals(self) -> SweepTotals:
        """Count the sweeps of all users."""
        return SweepTotals(len(self._records), self._counts.open(), self._counts.of_all())

    async def create(
        self,
        who: Principal,
        request: Mapping[str, object],
        idempotency_key: str | None = None,
        *,
        validate_only: bool = False,
    ) -> SweepView:
        """Create a sweep with all of its tasks, durable on return; or only check the request: of
        random samples those that it shows.

        A repeated `idempotency_key` returns the sweep that it created before. A call that is
        cancelled before the first task is created creates nothing.
        """
        require_valid_key(idempotency_key)
        if not permissions.may_submit(who):
            raise Forbidden("Viewers cannot submit tasks")
        idempotency = None
        if idempotency_key is not None:
            idempotency = idempotency_keys.of_request(idempotency_key, request)
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._turns.hold(("create", who.user)))
            if idempotency is not None and (known := self._created_by(who, idempotency)):
                return self._view(known)
            prepared = await self._prepared(
                who, request, idempotency, held, validate_only=validate_only
            )
            if validate_only:
                shown = await self._enter(who, prepared, dry_run=True)
                return self._view(prepared.sweep, shown[:SHOWN_TASKS])
            created = self._created(who, prepared, held.pop_all())
            return await self._background.run_to_completion(created)

    def get(self, who: Principal, sweep_id: str) -> SweepView:
        return self._view(self._find(who, sweep_id))

    def page(
        self,
        who: Principal,
        *,
        user: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> SweepPage:
        """The sweeps that `who` may see, newest first."""
        limit = DEFAULT_LIMIT if limit is None else limit
        offset = offset or 0
        if fault := page_fault(limit, offset):
            raise BadRequest(fault)
        found = [
            each
            for each in self._records.newest_first()
            if permissions.may_see(who, each, private=self._private) and user in (None, each.user)
        ]
        shown = [self._view(each) for each in found[offset : offset + limit]]
        return SweepPage(shown, len(found))

    async def cancel(self, who: Principal, sweep_id: str) -> SweepChange:
        """Cancel all tasks that have not ended; durable on return."""
        sweep = self._find_to_change(who, sweep_id)
        return await self._alone(("change", sweep_id), lambda: self._cancel(who, sweep))

    async def retry(self, who: Principal, sweep_id: str) -> SweepChange:
        """Submit the failed tasks again, cancelled ones included; durable on return."""
        sweep = self._find_to_change(who, sweep_id)
        return await self._alone(("change", sweep_id), lambda: self._retry(who, sweep))

    async def _alone(self, turn: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for a turn, and then do the work to its end, also if the caller is cancelled: a
        repeated call waits until it is done."""
        held = AsyncExitStack()
        await held.enter_async_context(self._turns.hold(turn))

        async def in_turn() -> T:
            async with held:
                return await work()

        return await self._background.run_to_completion(in_turn())

    def _find(self, who: Principal, sweep_id: str) -> Sweep:
        found = self._records.get(sweep_id)
        if found is None or not permissions.may_see(who, found, private=self._private):
            raise NotFound(f"Sweep {sweep_id[:64]!r} not found")
        return found

    def _find_to_change(self, who: Principal, sweep_id: str) -> Sweep:
        found = self._find(who, sweep_id)
        if not permissions.may_change(who, found):
            raise Forbidden("Only the sweep's owner or an admin may cancel it or submit it again")
        return found

    def _view(self, sweep: Sweep, tasks: Sequence[Task] = ()) -> SweepView:
        return SweepView(sweep, self._counts.of(sweep.id), tasks)

    def _created_by(self, who: Principal, key: Idempotency) -> Sweep | None:
        """The sweep that this key has created. Raises ValidationFailed for another request."""
        records = self._records.newest_first()
        made = idempotency_keys.earlier(records, who.user, key.key, self._clock())
        if made is None or made.idempotency is None:
            return None
        if fault := idempotency_keys.fault(made.idempotency.digest, key):
            raise ValidationFailed([FieldViolation("Idempotency-Key", fault)])
        return made

    async def _prepared(
        self,
        who: Principal,
        request: Mapping[str, object],
        idempotency: Idempotency | None,
        held: AsyncExitStack,
        *,
        validate_only: bool,
    ) -> _Prepared:
        """Check the request and make the tasks. While `held` is, no others are made."""
        wanted = definition.read(request)
        if not isinstance(wanted, Definition):
            raise _failed(wanted)
        self._submissions.require_accepting(who, wanted.total)
        sweep_id = self._submissions.new_id(self._clock())
        seed = wanted.random_seed
        if wanted.mode is Mode.RANDOM and seed is None:
            seed = int(sweep_id[-8:], 16) & MAX_INT
        project = await self._project(who, wanted.task)
        expansion = Expansion(wanted, sweep_id, seed or 0, project)
        if unknown := expansion.violations():
            raise _failed(unknown)
        with _of_task():
            request_of_first = expansion.first_request()
            first = (await self._submissions.check(who, request_of_first, wanted.total)).spec
        now = self._clock()
        sweep = Sweep(
            sweep_id,
            who.user,
            wanted.name or first.job_name,
            now,
            wanted.total,
            first.job_name,
            wanted.mode,
            wanted.described,
            samples=wanted.samples,
            random_seed=seed,
            max_parallel=wanted.max_parallel,
            idempotency=idempotency,
        )
        count = wanted.total
        if validate_only and wanted.mode is Mode.RANDOM:
            count = min(count, SHOWN_TASKS)
        drawn = await self._drawn(wanted, seed or 0, count)
        await held.enter_async_context(self._expanding)
        with _of_task(), as_placed(wanted.task, project):
            followed = await self._dependencies.followed(first)
        made = expansion.specs(followed.spec, drawn, count, followed.tasks)
        template = {name: wanted.task[name] for name in FILLED if name in wanted.task}
        return _Prepared(sweep, template, await _expanded(made, wanted.total), followed.ended)

    async def _drawn(self, wanted: Definition, seed: int, count: int) -> "array[float]":
        """Draw in portions, so that the sweeps of other users have their turns, and a cancelled
        call ends."""
        numbers = array("d")
        step = max(1, DRAWN_AT_ONCE // max(1, len(wanted.axes)))
        for first in range(0, count if wanted.mode is Mode.RANDOM else 0, step):
            numbers += await self._draw(wanted, seed, range(first, min(first + step, count)))
        return numbers

    async def _draw(self, wanted: Definition, seed: int, indexes: range) -> "array[float]":
        return await self._drawing.run(lambda _: wanted.drawn(seed, indexes))

    async def _created(
        self, who: Principal, prepared: _Prepared, held: AsyncExitStack
    ) -> SweepView:
        async with held:
            await self._make_room(who)
            sweep = prepared.sweep
            await self._enter(who, prepared, dry_run=False)
            self._records.remember(sweep)
            detail = f"{sweep.total} tasks, {sweep.name}"
            await self._audit.done(who, Action.SWEEP_CREATE, sweep.id, detail)
            return self._view(sweep)

    async def _enter(self, who: Principal, prepared: _Prepared, *, dry_run: bool) -> Sequence[Task]:
        sweep = prepared.sweep
        return await self._submissions.enter(
            who,
            prepared.tasks,
            documents=[
                Document(KIND, sweep.id, msgspec.json.encode(sweep)),
                Document(TEMPLATES, sweep.id, msgspec.json.encode(prepared.template)),
            ],
            known=prepared.ended,
            dry_run=dry_run,
        )

    async def _project(self, who: Principal, task: Mapping[str, object]) -> ProjectFile:
        """Return the fetchml.toml of the task's snapshot."""
        snapshot_id = task.get("snapshot_id")
        if not isinstance(snapshot_id, str):
            return NO_PROJECT
        found = self._snapshots.to_run(who.user, snapshot_id)
        return await self._snapshots.project(who.user, found) if found else NO_PROJECT

    async def _make_room(self, who: Principal) -> None:
        """Drop the user's oldest sweep without tasks if there is no place for another one. Raises
        Unavailable if all have some."""
        own = [each for each in self._records if each.user == who.user]
        if (fault := model.limit_fault(len(own), len(self._records))) is None:
            return
        empty = (each for each in own if not self._counts.has_tasks(each.id))
        if (oldest := next(empty, None)) is not None:
            await self._records.remove(oldest.id)
            await self._store.delete_document(TEMPLATES, oldest.id)
            self._counts.forget(oldest.id)
            return
        raise Unavailable(
            f"No room for the sweep: {fault}. Delete the tasks of old sweeps (fetchml prune)"
        )

    async def _cancel(self, who: Principal, sweep: Sweep) -> SweepChange:
        cancelled = 0
        while task_ids := self._to_cancel(sweep.id):
            event = ManyCancelRequested(self._clock(), task_ids, User(who.user))
            await self._dispatcher.apply(event)
            cancelled += len(task_ids)
        await self._audit.done(who, Action.SWEEP_CANCEL, sweep.id, f"{cancelled} tasks")
        return SweepChange(self._view(sweep), cancelled)

    def _to_cancel(self, sweep_id: str) -> list[str]:
        """The next tasks to cancel: the last of those that wait, so that none starts meanwhile."""
        found: list[str] = []
        for task_id in self._counts.live(sweep_id):
            task = self._state.tasks.get(task_id)
            if task is not None and task.cancel is None:
                found.append(task_id)
                if len(found) == CANCELLED_AT_ONCE:
                    break
        return found

    async def _retry(self, who: Principal, sweep: Sweep) -> SweepChange:
        retried = 0
        query = TaskQuery(
            states=(Status.FAILED,),
            sweep_id=sweep.id,
            # Those of this millisecond too, but none that this call creates later.
            created_before=self._clock() + 1,
            limit=RETRIED_AT_ONCE,
            most_bytes=PART_BYTES,
        )
        while again_of := await self._retry_some(who, query):
            retried += again_of
        detail = f"{retried} tasks"
        await self._audit.done(who, Action.SWEEP_RETRY, sweep.id, detail)
        return SweepChange(self._view(sweep), retried)

    async def _retry_some(self, who: Principal, query: TaskQuery) -> int:
        """Submit a portion of the failed tasks again, and return their number."""
        found = [task.id for task in (await self._store.list_tasks(query)).tasks]
        async with self._ended.locks.hold_all([("delete", each) for each in sorted(found)]):
            # Others may have deleted or changed them meanwhile.
            page = await self._store.list_tasks(query)
            tasks = [task for task in page.tasks if task.id in found][::-1]
            if not tasks:
                return 0
            owner = rerun.submitter(who, tasks[0])
            self._submissions.require_accepting(owner, len(tasks))
            specs = await self._dependencies.renewed([_again(task) for task in tasks])
            # What may have changed since is the same for all: snapshot, experiment, limits.
            first = replace(tasks[0], spec=specs[0])
            await self._submissions.check(owner, rerun.request_of(first))
            now = self._clock()
            replaced = [replace(task, superseded=True, edited_at=now) for task in tasks]
            new = [Accepted(spec, spec_footprint(spec)) for spec in specs]
            await self._submissions.enter(owner, new, replaced=replaced, now=now)
        return len(tasks)


@contextmanager
def _of_task() -> Iterator[None]:
    """Report violations of the task under the names that the sweep's request has for them."""
    try:
        yield
    except ValidationFailed as error:
        faults = [
            each if each.field == PROJECT_FILE else FieldViolation(f"task.{each.field}", each.rule)
            for each in error.violations
        ]
        raise ValidationFailed(faults) from None


async def _expanded(made: Iterator[Accepted], total: int) -> list[Accepted]:
    """Return `total` tasks; the last stands for those that are not made. Raises
    ValidationFailed."""
    tasks: list[Accepted] = []
    taken = 0
    pace = Pace()
    try:
        for each in made:
            tasks.append(each)
            taken += each.footprint
            if taken > MAX_TASK_BYTES:
                raise ValidationFailed([_TOO_LARGE])
            if pace.due:
                await pace.rest()
    except submission.InvalidSubmission as error:
        raise _failed(error.violations) from None
    others = total - len(tasks)
    if taken + others * each.footprint > MAX_TASK_BYTES:
        raise ValidationFailed([_TOO_LARGE])
    return tasks + [each] * others


def _again(task: Task) -> TaskSpec:
    spec, member = task.spec, task.spec.sweep
    if member is not None:
        member = replace(member, retries=member.retries + 1)
    after = rerun.conditions_of(task) or None
    return replace(spec, sweep=member, hold=False, start_after=None, after=after)


def _failed(violations: Sequence[Violation]) -> ValidationFailed:
    return ValidationFailed([FieldViolation(*violation) for violation in violations])


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
        if wrong := reported_metrics.ranking_fault(metric, goal, limit):
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
                    names.update(
                        dict.fromkeys(list(found.metrics)[: MAX_METRIC_NAMES - len(names)])
                    )
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
