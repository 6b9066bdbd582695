"""The tasks and sweeps that others start after: looked up before the core decides."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fetchml.core import permissions
from fetchml.core.dependencies import outcomes, request
from fetchml.core.model import ENDED, Dependency, Principal, Status, SweepMember, TaskSpec
from fetchml.core.scheduling.shares import Usage
from fetchml.core.state import Limits, State
from fetchml.core.sweeps.model import Sweep
from fetchml.core.sweeps.progress import Failures
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.gpus.peak_store import load_peaks
from fetchml.engine.sweep_records import KnownSweeps
from fetchml.engine.task_lookup import TaskLookup
from fetchml.errors import FieldViolation, ValidationFailed
from fetchml.ports.store import Store, StoredState, SweepTask, TaskQuery
from fetchml.system.pacing import Pace


class Ends(NamedTuple):
    """The ended tasks and sweeps, of all that some requests name. All others are live, until the
    caller awaits something."""

    tasks: Mapping[str, Status]
    sweeps: Mapping[str, Failures]


class Followed(NamedTuple):
    """A sweep's request, as far as it follows other sweeps index by index."""

    spec: TaskSpec
    tasks: Mapping[str, Sequence[str]]
    """Ids of the tasks of each of them, by index."""
    ended: Mapping[str, Status]
    """Outcomes of those of the tasks that have ended."""


NOTHING_ENDED = Ends({}, {})


class Dependencies:
    """Used from one event loop."""

    def __init__(
        self,
        tasks: TaskLookup,
        sweeps: KnownSweeps,
        state: State,
        dispatcher: Dispatcher,
        store: Store,
        *,
        private: bool,
    ) -> None:
        """`private`: users see only their own tasks and sweeps."""
        self._tasks = tasks
        self._sweeps = sweeps
        self._state = state
        self._dispatcher = dispatcher
        self._store = store
        self._private = private

    async def fault(
        self, who: Principal, spec: TaskSpec, in_sweep: int | None = None
    ) -> FieldViolation | None:
        """Return why the caller can't name the tasks and sweeps of a request; `None` if they can.
        `in_sweep`: number of tasks of the sweep that the request is for; `None` if for no sweep."""
        pace = Pace()
        inputs = frozenset(spec.inputs_from or ())
        for each in spec.after or ():
            if pace.due:
                await pace.rest()
            is_input = each.task_id in inputs or (each.same_index and each.sweep_id in inputs)
            if not each.task_id:
                rule = self._sweep_fault(who, each.sweep_id, in_sweep, by_index=each.same_index)
            elif is_input and self._find_sweep(who, each.task_id) is not None:
                rule = self._sweep_fault(who, each.task_id, in_sweep, by_index=True)
            else:
                rule = await self._task_fault(who, each, is_input=is_input)
            if rule is not None:
                return FieldViolation("inputs_from" if is_input else "after", rule)
        return None

    async def _task_fault(self, who: Principal, on: Dependency, *, is_input: bool) -> str | None:
        task_id = on.task_id
        # The state also has tasks that are not durable yet; a hidden one goes the way of no task.
        task = self._state.tasks.get(task_id)
        if task is None or not permissions.may_see(who, task, private=self._private):
            task = await self._tasks.find_seen(who, task_id)
        if task is None or task.service:
            return f"there is no task {task_id[:64]!r}"
        if task.hidden:
            return f"task {task_id} was deleted"
        if is_input and task.outputs_removed_at is not None:
            return f"the outputs of task {task_id} were removed"
        return None

    def _sweep_fault(
        self, who: Principal, sweep_id: str, in_sweep: int | None, *, by_index: bool
    ) -> str | None:
        sweep = self._find_sweep(who, sweep_id)
        if sweep is None:
            return f"there is no sweep {sweep_id[:64]!r}"
        if by_index and in_sweep is None:
            return (
                f"{sweep_id} is a sweep, whose tasks can be named by their index only for the "
                "tasks of another sweep"
            )
        if by_index and in_sweep != sweep.total:
            return (
                f"sweep {sweep_id} has {_number(sweep.total)} and this one has "
                f"{_number(in_sweep or 0)}: both must have as many, one for each index"
            )
        if deleted := self._sweeps.deleted(sweep):
            are = "was" if deleted == 1 else "were"
            return f"{_number(deleted)} of sweep {sweep_id} {are} deleted"
        return None

    def _find_sweep(self, who: Principal, sweep_id: str) -> Sweep | None:
        return self._sweeps.find(who, sweep_id, private=self._private)

    async def followed(self, spec: TaskSpec) -> Followed:
        """Look up the tasks of the sweeps that the tasks of a new sweep follow index by index.
        `spec`: their request, without a fault. Raises ValidationFailed."""
        if spec.after is None:
            return Followed(spec, {}, {})
        inputs = frozenset(each for each in spec.inputs_from or () if each in self._sweeps.records)
        spec = request.with_sweeps(spec, inputs)
        tasks: dict[str, list[str]] = {}
        ended: dict[str, Status] = {}
        sweeps = request.followed(spec)
        if len(sweeps) > request.MAX_FOLLOWED:
            too_many = f"must not name more than {request.MAX_FOLLOWED} sweeps by index"
            raise ValidationFailed([FieldViolation("after", too_many)])
        for sweep_id in sweeps:
            found = await self._by_index(sweep_id)
            sweep = self._sweeps.records.get(sweep_id)
            field, rule = "after", None
            if sweep is None or len(found) < sweep.total:
                rule = f"tasks of sweep {sweep_id} were deleted"
            elif sweep_id in inputs and (gone := _without_outputs(found.values())) is not None:
                field = "inputs_from"
                rule = f"the outputs of task {gone.id} of sweep {sweep_id} were removed"
            if rule is not None:
                raise ValidationFailed([FieldViolation(field, rule)])
            tasks[sweep_id] = [each.id for _, each in sorted(found.items())]
            ended.update((each.id, each.status) for each in found.values() if each.status in ENDED)
        return Followed(spec, tasks, ended)

    async def renewed(self, specs: Sequence[TaskSpec]) -> list[TaskSpec]:
        """Return tasks of a sweep that are submitted again, after the tasks that have their indexes
        now in the sweeps that they follow. One that is gone is named as before."""
        tasks: dict[str, dict[int, str]] = {}
        for sweep_id in {each for spec in specs for each in request.followed(spec)}:
            found = await self._by_index(sweep_id)
            tasks[sweep_id] = {index: each.id for index, each in found.items()}
        return [request.renewed(spec, tasks) for spec in specs] if tasks else list(specs)

    async def _by_index(self, sweep_id: str) -> dict[int, SweepTask]:
        await self._dispatcher.settled()
        return {each.index: each for each in await self._store.sweep_tasks(sweep_id)}

    async def ended(
        self,
        who: Principal,
        specs: Sequence[TaskSpec],
        known: Mapping[str, Status] | None = None,
        again_in: SweepMember | None = None,
    ) -> Ends:
        """Return what has ended of all that valid requests of one user name. `known`: outcomes of
        some of the tasks. `again_in`: the place of one of the tasks in the sweep that they are
        submitted again in. Raises ValidationFailed."""
        named: set[str] = set()
        sweeps: set[str] = set() if again_in is None else {again_in.id}
        pace = Pace()
        for spec in specs:
            for each in spec.after or ():
                if each.task_id:
                    named.add(each.task_id)
                else:
                    sweeps.add(each.sweep_id)
            if pace.due:
                await pace.rest()
        tasks = dict(known or {})
        failed: dict[str, str | None] = {}
        while True:
            rest = [each for each in named if each not in tasks and self._ended(each)]
            done = [each for each in sweeps if each not in failed and self._sweep_ended(each)]
            if not rest and not done:
                break
            # The end of some may still be on the way to the disk, where it is read.
            await self._dispatcher.settled()
            for task_id in rest:
                task = await self._tasks.get(task_id)
                if task.status in ENDED:
                    tasks[task_id] = task.status
            for sweep_id in done:
                failed[sweep_id] = await self._failed_task(sweep_id)
        for sweep_id in sweeps:
            # Others may have deleted its tasks meanwhile.
            rule = self._sweep_fault(who, sweep_id, None, by_index=False)
            if rule is not None and (again_in is None or sweep_id != again_in.id):
                raise ValidationFailed([FieldViolation("after", rule)])
        return Ends(
            {each: tasks[each] for each in named if each in tasks},
            {
                each: Failures(self._failed(each), failed[each])
                for each in sweeps
                if self._sweep_ended(each)
            },
        )

    async def _failed_task(self, sweep_id: str) -> str | None:
        """Id of a failed task of a sweep."""
        query = TaskQuery(states=(Status.FAILED,), sweep_id=sweep_id, limit=1, brief=True)
        found = (await self._store.list_tasks(query)).tasks
        return found[0].id if found else None

    def _failed(self, sweep_id: str) -> int:
        return self._sweeps.counts.of(sweep_id).get(Status.FAILED, 0)

    def _ended(self, task_id: str) -> bool:
        return task_id not in self._state.tasks

    def _sweep_ended(self, sweep_id: str) -> bool:
        return sweep_id not in self._state.progress


def _without_outputs(tasks: Iterable[SweepTask]) -> SweepTask | None:
    return next((each for each in tasks if not each.has_outputs), None)


def _number(tasks: int) -> str:
    return "1 task" if tasks == 1 else f"{tasks} tasks"


async def restored_state(
    store: Store, restored: StoredState, limits: Limits, shares: Mapping[str, Usage]
) -> State:
    """Rebuild the core's state, with the outcomes of ended tasks and sweeps that live ones wait
    for."""
    named = sorted(outcomes.named({task.id: task for task in restored.live}))
    found = await store.outcomes(named) if named else {}
    peaks = await load_peaks(store) if limits.packing is not None else ()
    return State.restore(limits, restored.live, shares, found, restored.sweep_failures, peaks)
