"""What is taken: a submission is checked, counted against quotas and room, and made durable."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from fetchml.clock import Clock
from fetchml.core import access, quotas, submission
from fetchml.core.events import Submitted
from fetchml.core.model import Idempotency, Principal, Task, TaskSpec
from fetchml.errors import (
    BadRequest,
    FieldViolation,
    Forbidden,
    QueueQuotaReached,
    Unavailable,
    ValidationFailed,
)
from fetchml.ids import IdSequence
from fetchml.inputs import Inputs
from fetchml.keyed_locks import KeyedLocks
from fetchml.ports import Store
from fetchml.writer import Writer

BATCH_SLICE = 500
"""Tasks of a batch that are checked before other requests have their turn."""
KEY_OF_ANOTHER = "was used with another request: take a new key"


class Intake:
    """Usable once the engine has started."""

    _writer: Writer
    _ids: IdSequence
    _clock: Clock

    def __init__(
        self,
        store: Store,
        inputs: Inputs,
        defaults: submission.Defaults,
        dataset_schemes: tuple[str, ...],
        *,
        takes_tasks: Callable[[Principal, str], bool],
        find: Callable[[str], Awaitable[Task]],
        require_storage: Callable[[str], None],
    ) -> None:
        """`takes_tasks`: whether a user may submit to the experiment with this id. `find`: the task
        with this id, of anybody's. `require_storage`: raises StorageQuotaReached for a user whose
        files take too much room."""
        self._store = store
        self._inputs = inputs
        self._defaults = defaults
        self._dataset_schemes = dataset_schemes
        self._takes_tasks = takes_tasks
        self._find = find
        self._require_storage = require_storage
        self._locks = KeyedLocks()

    def open(self, writer: Writer, ids: IdSequence, clock: Clock) -> None:
        self._writer = writer
        self._ids = ids
        self._clock = clock

    async def create_task(
        self, who: Principal, request: Mapping[str, object], idempotency_key: str | None = None
    ) -> Task:
        """Durable on return. A repeated `idempotency_key` gives the task that it gave before."""
        if idempotency_key is None:
            self._require_may_submit(who)
            return await self._submit_one(who, self._accept(who, request), None)
        if fault := submission.idempotency_key_fault(idempotency_key):
            raise BadRequest(f"Idempotency-Key: {fault}")
        digest = _digest(request)
        async with self._locks.hold(("create", who.user, idempotency_key)):
            known = await self._store.find_idempotent(who.user, [idempotency_key])
            earlier = known.get(idempotency_key)
            if earlier is None:
                self._require_may_submit(who)
                spec = self._accept(who, request)
                return await self._submit_one(who, spec, Idempotency(idempotency_key, digest))
        if earlier.digest != digest:
            raise ValidationFailed([FieldViolation("Idempotency-Key", KEY_OF_ANOTHER)])
        return await self._find(earlier.task_id)

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
                self._require_may_submit(who)
            made: list[tuple[TaskSpec, Idempotency | None]] = []
            violations: list[FieldViolation] = []
            for index, (request, key) in enumerate(zip(requests, idempotency_keys, strict=True)):
                if index % BATCH_SLICE == BATCH_SLICE - 1:
                    await asyncio.sleep(0)
                digest = "" if key is None else _digest(request)
                if key is not None and (earlier := known.get(key)) is not None:
                    if earlier.digest != digest:
                        field = f"tasks[{index}].idempotency_key"
                        violations.append(FieldViolation(field, KEY_OF_ANOTHER))
                    continue
                try:
                    spec = self._accept(who, request)
                    self._require_takes_tasks(who, spec)
                    made.append((spec, None if key is None else Idempotency(key, digest)))
                except ValidationFailed as error:
                    for violation in error.violations:
                        field = f"tasks[{index}].{violation.field}"
                        violations.append(FieldViolation(field, violation.rule))
            if violations:
                raise ValidationFailed(violations)
            new = iter(await self._submit(who, made) if made else [])
        return [
            next(new) if key is None or key not in known else await self._find(known[key].task_id)
            for key in idempotency_keys
        ]

    def require_room(self) -> None:
        """Raises Unavailable: nothing new is taken now."""
        if self._writer.state.draining:
            raise Unavailable("The server is shutting down: submit again when it is back")
        if not self._store.has_room():
            raise Unavailable("The server's disk is nearly full: free some space on it")

    def require_quota(self, user: str, spec: TaskSpec) -> None:
        """For one task. Raises ValidationFailed, QueueQuotaReached, Unavailable."""
        self._require_gpu_quota(spec)
        self._require_queue_quota(user, [spec])
        self._require_storage(user)

    def _require_gpu_quota(self, spec: TaskSpec) -> None:
        if fault := quotas.gpu_fault(self._writer.state.limits, spec):
            raise ValidationFailed([FieldViolation("gpu", fault)])

    def _require_queue_quota(self, user: str, specs: Sequence[TaskSpec]) -> None:
        if fault := quotas.queue_fault(self._writer.state, user, specs):
            raise QueueQuotaReached(fault)
        if quotas.is_full(self._writer.state, specs):
            raise Unavailable("The queue is full: submit again when tasks have ended")

    def _require_may_submit(self, who: Principal) -> None:
        if not access.may_submit(who):
            raise Forbidden("A viewer's key can't submit tasks")
        self.require_room()
        self._require_storage(who.user)

    def _accept(self, who: Principal, request: Mapping[str, object]) -> TaskSpec:
        state = self._writer.state
        project_text = self._inputs.project_text(who.user, request.get("snapshot_id"))
        try:
            spec = submission.accept(
                request,
                self._defaults,
                state.capacity,
                project_text,
                dataset_schemes=self._dataset_schemes,
            )
        except submission.InvalidSubmission as error:
            raise ValidationFailed([FieldViolation(*v) for v in error.violations]) from None
        self._require_gpu_quota(spec)
        return spec

    def _require_takes_tasks(self, who: Principal, spec: TaskSpec) -> None:
        """Not for a repeated create: its experiment may have been archived since."""
        if spec.experiment_id is None or self._takes_tasks(who, spec.experiment_id):
            return
        rule = "no such experiment, or it is archived"
        raise ValidationFailed([FieldViolation("experiment_id", rule)])

    async def _submit_one(
        self, who: Principal, spec: TaskSpec, idempotency: Idempotency | None
    ) -> Task:
        self._require_takes_tasks(who, spec)
        return (await self._submit(who, [(spec, idempotency)]))[0]

    async def _submit(
        self, who: Principal, made: Sequence[tuple[TaskSpec, Idempotency | None]]
    ) -> list[Task]:
        self._require_queue_quota(who.user, [spec for spec, _ in made])
        now, sender = self._clock(), who.sender
        tasks = [
            Task(self._ids.next(now), who.user, spec, now, idempotency=idempotency, sender=sender)
            for spec, idempotency in made
        ]
        await self._writer.apply(Submitted(now, tasks))
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
        if fault:
            violations.append(FieldViolation(f"tasks[{index}].idempotency_key", fault))
    if violations:
        raise ValidationFailed(violations)
