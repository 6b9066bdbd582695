"""What is taken: a submission is checked, counted against quotas and room, and made durable."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from fetchml.core import permissions, quotas
from fetchml.core.events import Submitted
from fetchml.core.footprint import footprint
from fetchml.core.model import Idempotency, Principal, Task, TaskSpec
from fetchml.core.requests import dataset, images, submission
from fetchml.core.state import State
from fetchml.datasets.provider import DatasetProvider
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.experiments import Experiments
from fetchml.engine.task_lookup import TaskLookup
from fetchml.errors import (
    MAX_VIOLATIONS,
    BadRequest,
    DiskFull,
    FieldViolation,
    Forbidden,
    QueueQuotaReached,
    Unavailable,
    ValidationFailed,
)
from fetchml.files.storage_usage import StorageUsage
from fetchml.ports.store import IdempotentCreate, Store
from fetchml.snapshots.service import Snapshots
from fetchml.system.ids import IdSequence
from fetchml.system.locks import KeyedLocks
from fetchml.system.pacing import Pace

NO_SUCH_SNAPSHOT = FieldViolation("snapshot_id", "there is no such snapshot: upload it first")
KEY_OF_ANOTHER = "was used with another request: take a new key"


@dataclass(frozen=True, slots=True)
class SubmissionRules:
    """What a request may ask for, by the settings."""

    defaults: submission.Defaults
    dataset_schemes: tuple[str, ...] = dataset.SCHEMES
    dataset_addresses: dataset.AddressRules = dataset.PUBLIC_ADDRESSES
    allow_images: tuple[str, ...] = images.ANY


class Submissions:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        state: State,
        tasks: TaskLookup,
        snapshots: Snapshots,
        datasets: DatasetProvider,
        experiments: Experiments,
        usage: StorageUsage,
        dispatcher: Dispatcher,
        *,
        clock: Callable[[], int],
        ids: IdSequence,
        rules: SubmissionRules,
    ) -> None:
        self._store = store
        self._state = state
        self._tasks = tasks
        self._snapshots = snapshots
        self._datasets = datasets
        self._experiments = experiments
        self._usage = usage
        self._dispatcher = dispatcher
        self._clock = clock
        self._ids = ids
        self._rules = rules
        self._locks = KeyedLocks()
        self.refused = 0
        """Submits that a quota of waiting tasks, or the queue's limit, kept out."""

    async def create_task(
        self, who: Principal, request: Mapping[str, object], idempotency_key: str | None = None
    ) -> Task:
        """Durable on return. A repeated `idempotency_key` gives the task that it gave before."""
        if idempotency_key is None:
            self._require_may_submit(who, 1)
            return await self._submit_one(who, self._accept(who, request), None)
        if fault := submission.idempotency_key_fault(idempotency_key):
            raise BadRequest(f"Idempotency-Key: {fault}")
        digest = _digest(request)
        async with self._locks.hold(("create", who.user, idempotency_key)):
            known = await self._store.find_idempotent(who.user, [idempotency_key])
            earlier = known.get(idempotency_key)
            if earlier is None:
                self._require_may_submit(who, 1)
                spec = self._accept(who, request)
                return await self._submit_one(who, spec, Idempotency(idempotency_key, digest))
        if earlier.digest != digest:
            raise ValidationFailed([FieldViolation("Idempotency-Key", KEY_OF_ANOTHER)])
        return await self._tasks.get(earlier.task_id)

    async def create_tasks(
        self,
        who: Principal,
        requests: Sequence[Mapping[str, object]],
        idempotency_keys: Sequence[str | None] = (),
    ) -> list[Task]:
        """All or none, in one durable commit. `idempotency_keys`: one for each request, or none at
        all; one that is repeated gives the task that it gave before."""
        idempotency_keys = idempotency_keys or [None] * len(requests)
        _check_keys(idempotency_keys)
        keys = sorted(key for key in idempotency_keys if key is not None)
        async with self._locks.hold_all([("create", who.user, key) for key in keys]):
            known = await self._store.find_idempotent(who.user, keys) if keys else {}
            if len(known) < len(requests):
                # Before the checks, which cost much more.
                self._require_may_submit(who, len(requests) - len(known))
            made = await self._accept_all(who, requests, idempotency_keys, known)
            new = iter(await self._submit(who, made) if made else [])
        pace = Pace()
        tasks: list[Task] = []
        for key in idempotency_keys:
            earlier = None if key is None else known.get(key)
            tasks.append(next(new) if earlier is None else await self._tasks.get(earlier.task_id))
            if pace.due:
                await pace.rest()
        return tasks

    async def _accept_all(
        self,
        who: Principal,
        requests: Sequence[Mapping[str, object]],
        keys: Sequence[str | None],
        known: Mapping[str, IdempotentCreate],
    ) -> list[tuple[TaskSpec, Idempotency | None]]:
        """All that is new of a batch. Raises ValidationFailed with no more than the first
        MAX_VIOLATIONS faults: the rest of a batch that is refused anyway is not looked at."""
        made: list[tuple[TaskSpec, Idempotency | None]] = []
        violations: list[FieldViolation] = []
        pace = Pace()
        for index, (request, key) in enumerate(zip(requests, keys, strict=True)):
            if pace.due:
                await pace.rest()
            digest = "" if key is None else _digest(request)
            if key is not None and (earlier := known.get(key)) is not None:
                if earlier.digest != digest:
                    field = f"tasks[{index}].idempotency_key"
                    violations.append(FieldViolation(field, KEY_OF_ANOTHER))
                continue
            try:
                spec = self._accept(who, request)
                self._require_takes_tasks(who, spec)
                if spec.dataset_specs:
                    await self._require_datasets(spec)
                made.append((spec, None if key is None else Idempotency(key, digest)))
            except ValidationFailed as error:
                violations += [
                    FieldViolation(f"tasks[{index}].{violation.field}", violation.rule)
                    for violation in error.violations
                ]
            if len(violations) >= MAX_VIOLATIONS:
                del violations[MAX_VIOLATIONS:]
                rule = f"the tasks after tasks[{index}] were not checked: mend these faults first"
                violations.append(FieldViolation("tasks", rule))
                break
        if violations:
            raise ValidationFailed(violations)
        return made

    def require_room(self) -> None:
        """Raises Unavailable if the server takes no new work."""
        if self._state.draining:
            raise Unavailable("The server is shutting down: submit again when it is back")
        if not self._store.has_room():
            raise DiskFull

    def require_quota(self, user: str, spec: TaskSpec) -> None:
        """For one task. Raises ValidationFailed, QueueQuotaReached, Unavailable."""
        self._require_gpu_quota(spec)
        self._require_queue_quota(user, [footprint(spec)])
        self._usage.require_room(user)

    def _require_gpu_quota(self, spec: TaskSpec) -> None:
        if fault := quotas.gpu_fault(self._state.limits, spec):
            raise ValidationFailed([FieldViolation("gpu", fault)])

    def _require_queue_quota(self, user: str, footprints: Sequence[int]) -> None:
        if fault := quotas.queue_fault(self._state, user, footprints):
            self.refused += 1
            raise QueueQuotaReached(fault)
        if quotas.is_full(self._state, footprints):
            self.refused += 1
            raise Unavailable("The queue is full: submit again when tasks have ended")

    def _require_may_submit(self, who: Principal, count: int) -> None:
        if not permissions.may_submit(who):
            raise Forbidden("A viewer's key can't submit tasks")
        self.require_room()
        self._usage.require_room(who.user)
        if fault := quotas.count_fault(self._state, who.user, count):
            raise QueueQuotaReached(fault)

    def _accept(self, who: Principal, request: Mapping[str, object]) -> TaskSpec:
        state = self._state
        snapshot_id = request.get("snapshot_id")
        snapshot = None
        unknown: list[FieldViolation] = []
        if isinstance(snapshot_id, str):
            snapshot = self._snapshots.to_run(who.user, snapshot_id)
            unknown = [] if snapshot else [NO_SUCH_SNAPSHOT]
        try:
            spec = submission.accept(
                request,
                self._rules.defaults,
                state.capacity,
                snapshot.project_file if snapshot else None,
                dataset_schemes=self._rules.dataset_schemes,
                dataset_addresses=self._rules.dataset_addresses,
                allow_images=self._rules.allow_images,
            )
        except submission.InvalidSubmission as error:
            violations = [FieldViolation(*v) for v in error.violations]
            if any(violation.field == "snapshot_id" for violation in violations):
                unknown = []
            raise ValidationFailed(violations + unknown) from None
        if unknown:
            raise ValidationFailed(unknown)
        self._require_gpu_quota(spec)
        return spec

    def _require_takes_tasks(self, who: Principal, spec: TaskSpec) -> None:
        """Not for a repeated create: its experiment may have been archived since."""
        if spec.experiment_id is None or self._experiments.takes_tasks(who, spec.experiment_id):
            return
        rule = "no such experiment, or it is archived"
        raise ValidationFailed([FieldViolation("experiment_id", rule)])

    async def _require_datasets(self, spec: TaskSpec) -> None:
        if fault := await self._datasets.fault(spec.dataset_specs or ()):
            raise ValidationFailed([FieldViolation("dataset_specs", fault)])

    async def _submit_one(
        self, who: Principal, spec: TaskSpec, idempotency: Idempotency | None
    ) -> Task:
        self._require_takes_tasks(who, spec)
        if spec.dataset_specs:
            await self._require_datasets(spec)
        return (await self._submit(who, [(spec, idempotency)]))[0]

    async def _submit(
        self, who: Principal, made: Sequence[tuple[TaskSpec, Idempotency | None]]
    ) -> list[Task]:
        now, user, sender = self._clock(), who.user, who.sender
        tasks: list[Task] = []
        footprints: list[int] = []
        snapshots = set[str]()
        for spec, idempotency in made:
            task_id = self._ids.next(now)
            tasks.append(Task(task_id, user, spec, now, idempotency=idempotency, sender=sender))
            footprints.append(footprint(spec))
            if spec.snapshot_id is not None:
                snapshots.add(spec.snapshot_id)
        self._require_queue_quota(user, footprints)
        # Others had their turn while it was checked.
        for snapshot_id in snapshots:
            if self._snapshots.to_run(user, snapshot_id) is None:
                raise ValidationFailed([NO_SUCH_SNAPSHOT])
        await self._dispatcher.apply(Submitted(now, tasks, footprints))
        return tasks


def _digest(request: Mapping[str, object]) -> str:
    return hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest()


def _check_keys(keys: Sequence[str | None]) -> None:
    """Raises ValidationFailed."""
    first = dict[str, int]()
    violations: list[FieldViolation] = []
    for index, key in enumerate(keys):
        if key is None:
            continue
        fault = submission.idempotency_key_fault(key)
        if key in first:
            fault = f"is that of tasks[{first[key]}] too: each needs its own"
        first.setdefault(key, index)
        if len(violations) == MAX_VIOLATIONS:
            break
        if fault:
            violations.append(FieldViolation(f"tasks[{index}].idempotency_key", fault))
    if violations:
        raise ValidationFailed(violations)
