"""Submissions: each is checked, counted against quotas and room, and made durable."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.core import acceptance, submit_quotas
from fetchml.core import idempotency as idempotency_keys
from fetchml.core.acceptance import Refusal, RefusalKind
from fetchml.core.events import Submitted
from fetchml.core.footprint import encode_spec, footprint, spec_footprint
from fetchml.core.model import Idempotency, Principal, Rerun, Status, Task, TaskSpec
from fetchml.core.requests import submission
from fetchml.core.requests.project_file import NO_PROJECT
from fetchml.core.requests.submission import Accepted, SubmissionRules
from fetchml.core.state import State
from fetchml.datasets.provider import DatasetProvider
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.estimates import Estimates
from fetchml.engine.experiments import Experiments
from fetchml.engine.task_lookup import TaskLookup
from fetchml.engine.tasks.dependencies import NOTHING_ENDED, Dependencies
from fetchml.engine.tasks.sources import Sources, as_placed, needs_sources
from fetchml.engine.tasks.tasks import Tasks
from fetchml.environments.environment_service import Environments
from fetchml.errors import (
    MAX_VIOLATIONS,
    BadRequest,
    DiskFull,
    FieldViolation,
    Forbidden,
    QueueQuotaReached,
    RequestError,
    StorageQuotaReached,
    Unavailable,
    ValidationFailed,
)
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.volume_usage import VolumeUsage
from fetchml.ports.store import Document, IdempotentCreate, Store
from fetchml.snapshots.snapshot_service import Snapshots
from fetchml.system.ids import IdSequence
from fetchml.system.locks import KeyedLocks
from fetchml.system.pacing import Pace
from fetchml.system.threads import until_end
from fetchml.user_secrets.secret_service import UserSecrets
from fetchml.views import ValidatedTask

NO_SUCH_SNAPSHOT = FieldViolation("snapshot_id", "snapshot not found: upload it first")
NO_SUCH_EXPERIMENT = FieldViolation("experiment_id", "experiment not found, or archived")

_ERRORS: dict[RefusalKind, Callable[[str], RequestError]] = {
    RefusalKind.FORBIDDEN: Forbidden,
    RefusalKind.DRAINING: Unavailable,
    RefusalKind.DISK_FULL: lambda _: DiskFull(),
    RefusalKind.STORAGE: StorageQuotaReached,
    RefusalKind.QUOTA: QueueQuotaReached,
    RefusalKind.QUEUE_FULL: Unavailable,
}


class FieldNames(NamedTuple):
    """Names in errors of the fields of the request with this index."""

    field: Callable[[int, str], str]
    key: Callable[[int], str]
    """The idempotency key's field."""


OF_THE_ONLY = FieldNames(lambda _, field: field, lambda _: "Idempotency-Key")
OF_MANY = FieldNames(
    lambda index, field: f"tasks[{index}].{field}", lambda index: f"tasks[{index}].idempotency_key"
)


class Submissions:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        state: State,
        lookup: TaskLookup,
        snapshots: Snapshots,
        datasets: DatasetProvider,
        experiments: Experiments,
        usage: StorageUsage,
        dispatcher: Dispatcher,
        *,
        tasks: Tasks,
        dependencies: Dependencies,
        environments: Environments,
        estimates: Estimates,
        secrets: UserSecrets,
        volumes: VolumeUsage,
        clock: Callable[[], int],
        ids: IdSequence,
        rules: SubmissionRules,
    ) -> None:
        self._store = store
        self._state = state
        self._lookup = lookup
        self._snapshots = snapshots
        self._experiments = experiments
        self._usage = usage
        self._dependencies = dependencies
        self._estimates = estimates
        self._sources = Sources(
            datasets, tasks, dependencies, environments, secrets=secrets, volumes=volumes
        )
        self._dispatcher = dispatcher
        self._clock = clock
        self._ids = ids
        self._rules = rules
        self._locks = KeyedLocks()
        self.refused = 0
        """Submits rejected by a quota or the queue limit."""

    async def create_task(
        self, who: Principal, request: Mapping[str, object], idempotency_key: str | None = None
    ) -> Task:
        """Create a task, durable on return.

        A repeated `idempotency_key` returns the task that it created before.
        """
        if idempotency_key is None:
            self.require_accepting(who, 1)
            [task] = await self.enter(who, [await self.check(who, request)])
            return task
        require_valid_key(idempotency_key)
        [task] = await self._create_once(who, [request], [idempotency_key], OF_THE_ONLY)
        return task

    async def create_rerun(
        self, who: Principal, request: Mapping[str, object], rerun: Rerun
    ) -> Task:
        """Create a task that runs another one again, durable on return."""
        self.require_accepting(who, 1)
        accepted = await self.check(who, request)
        spec = replace(accepted.spec, rerun=rerun)
        encoded = encode_spec(spec)
        if wrong := submission.size_fault(encoded):
            raise ValidationFailed([FieldViolation("parameters", wrong)])
        [task] = await self.enter(who, [Accepted(spec, footprint(encoded))])
        return task

    async def validate_task(
        self,
        who: Principal,
        request: Mapping[str, object],
        idempotency_key: str | None = None,
        *,
        with_estimate: bool,
    ) -> ValidatedTask:
        """Check a request as `create_task` does, and keep nothing. Raises as `create_task`.

        Return the task as it would be; its id names no task. For an `idempotency_key` that was
        used return the task that it created before.
        """
        require_valid_key(idempotency_key)
        keys = [] if idempotency_key is None else [idempotency_key]
        known = await self._store.find_idempotent(who.user, keys) if keys else {}
        new = await self._create(
            who, [request], [idempotency_key], known, OF_THE_ONLY, dry_run=True
        )
        if new:
            return ValidatedTask(
                new[0], await self._estimates.of_new(new[0]) if with_estimate else None
            )
        task = await self._lookup.get(known[keys[0]].task_id)
        return ValidatedTask(task, await self._estimates.of(task) if with_estimate else None)

    async def create_tasks(
        self,
        who: Principal,
        requests: Sequence[Mapping[str, object]],
        idempotency_keys: Sequence[str | None] = (),
    ) -> list[Task]:
        """Create all tasks or none, in one durable commit.

        `idempotency_keys`: one for each request, or none at all; a repeated one returns the task
        that it created before.
        """
        keys = idempotency_keys or [None] * len(requests)
        _require_valid_keys(keys)
        return await self._create_once(who, requests, keys, OF_MANY)

    async def _create_once(
        self,
        who: Principal,
        requests: Sequence[Mapping[str, object]],
        keys: Sequence[str | None],
        named: FieldNames,
    ) -> list[Task]:
        """Create the tasks whose keys are new, and find the others."""
        used = [key for key in keys if key is not None]
        if not used:
            return await self._create(who, requests, keys, {}, named)
        # One create at a time with each key: the second finds what the first created.
        async with self._locks.hold_all(sorted(("create", who.user, key) for key in used)):
            known = await self._store.find_idempotent(who.user, used)
            created = await self._create(who, requests, keys, known, named)
        new = iter(created)
        tasks: list[Task] = []
        pace = Pace()
        for key in keys:
            earlier = None if key is None else known.get(key)
            tasks.append(next(new) if earlier is None else await self._lookup.get(earlier.task_id))
            if pace.due:
                await pace.rest()
        return tasks

    async def _create(
        self,
        who: Principal,
        requests: Sequence[Mapping[str, object]],
        keys: Sequence[str | None],
        known: Mapping[str, IdempotentCreate],
        named: FieldNames,
        *,
        dry_run: bool = False,
    ) -> list[Task]:
        """Create the tasks whose keys are not `known`; durable on return, unless it is a dry
        run."""
        if len(known) < len(requests):
            # Before the checks of each task, which cost much more.
            self.require_accepting(who, len(requests) - len(known))
        new, new_keys = await self._check_all(who, requests, keys, known, named)
        return await self.enter(who, new, new_keys, dry_run=dry_run) if new else []

    async def enter(
        self,
        who: Principal,
        new: Sequence[Accepted],
        keys: Sequence[Idempotency | None] = (),
        *,
        documents: Sequence[Document] = (),
        replaced: Sequence[Task] = (),
        known: Mapping[str, Status] | None = None,
        now: int | None = None,
        dry_run: bool = False,
    ) -> list[Task]:
        """Create valid tasks in one durable commit with `documents` and the ended tasks `replaced`,
        of one sweep; with a dry run create nothing. `keys`: one for each, or none at all. `known`:
        outcomes of tasks that they start after, as far as known."""
        after: list[TaskSpec] = []
        snapshots: set[str] = set()
        for accepted in new:
            spec = accepted.spec
            if spec.after is not None:
                after.append(spec)
            if spec.snapshot_id is not None:
                snapshots.add(spec.snapshot_id)
        ends = NOTHING_ENDED
        sweep = replaced[0].spec.sweep if replaced else None
        if after or sweep is not None:
            ends = await self._dependencies.ended(who, after, known, sweep)
        now, sender = now or self._clock(), who.sender
        tasks = [
            Task(self._ids.next(now), who.user, each.spec, now, idempotency=key, sender=sender)
            for each, key in zip(new, keys or [None] * len(new), strict=True)
        ]
        footprints = [each.footprint for each in new]
        self._require_room_for(who.user, footprints, dry_run=dry_run)
        # Others had their turn while they were checked.
        self._require_snapshots(who, snapshots)
        if not dry_run:
            event = Submitted(now, tasks, footprints, ends.tasks, replaced, ends.sweeps)
            durable = self._dispatcher.apply(event, documents)
            # A repeated key finds the task once it is durable. Until then its lock is held.
            await (until_end(durable) if any(keys) else durable)
        return tasks

    def _require_room_for(
        self, user: str, footprints: Sequence[int], *, dry_run: bool = False
    ) -> None:
        """Raises QueueQuotaReached, Unavailable."""
        if (refusal := acceptance.no_room(self._state, user, footprints)) is not None:
            self.refused += not dry_run
            raise _error(refusal)

    def _require_snapshots(self, who: Principal, snapshots: Iterable[str]) -> None:
        """Raises ValidationFailed."""
        for snapshot_id in snapshots:
            if self._snapshots.to_run(who.user, snapshot_id) is None:
                raise ValidationFailed([NO_SUCH_SNAPSHOT])

    async def _check_all(
        self,
        who: Principal,
        requests: Sequence[Mapping[str, object]],
        keys: Sequence[str | None],
        known: Mapping[str, IdempotentCreate],
        named: FieldNames,
    ) -> tuple[list[Accepted], list[Idempotency | None]]:
        """Return the tasks of the requests with new keys, and the keys. Raises ValidationFailed:
        for many requests with no more than the first MAX_VIOLATIONS faults, since the rest of a
        batch that is refused anyway is not looked at."""
        new: list[Accepted] = []
        new_keys: list[Idempotency | None] = []
        violations: list[FieldViolation] = []
        pace = Pace()
        for index, (request, key) in enumerate(zip(requests, keys, strict=True)):
            if index and pace.due:
                await pace.rest()
            idempotency = None if key is None else idempotency_keys.of_request(key, request)
            if idempotency is not None and (earlier := known.get(idempotency.key)) is not None:
                if fault := idempotency_keys.fault(earlier.digest, idempotency):
                    violations.append(FieldViolation(named.key(index), fault))
                continue
            try:
                new.append(await self.check(who, request))
                new_keys.append(idempotency)
            except ValidationFailed as error:
                violations += [
                    FieldViolation(named.field(index, each.field), each.rule)
                    for each in error.violations
                ]
            if len(violations) >= MAX_VIOLATIONS and named is OF_MANY:
                del violations[MAX_VIOLATIONS:]
                rule = f"the tasks after tasks[{index}] were not checked: fix these errors first"
                violations.append(FieldViolation("tasks", rule))
                break
        if violations:
            raise ValidationFailed(violations)
        return new, new_keys

    async def check(
        self, who: Principal, request: Mapping[str, object], in_sweep: int | None = None
    ) -> Accepted:
        """Return the task that a request asks for. `in_sweep`: see `Dependencies.fault`. Raises
        ValidationFailed."""
        snapshot_id = request.get("snapshot_id")
        snapshot = None
        unknown: list[FieldViolation] = []
        if isinstance(snapshot_id, str):
            snapshot = self._snapshots.to_run(who.user, snapshot_id)
            unknown = [] if snapshot else [NO_SUCH_SNAPSHOT]
        project = await self._snapshots.project(who.user, snapshot) if snapshot else NO_PROJECT
        try:
            accepted = submission.accept(request, self._rules, self._state.capacity, project)
        except submission.InvalidSubmission as error:
            violations = [FieldViolation(*violation) for violation in error.violations]
            if any(violation.field == "snapshot_id" for violation in violations):
                unknown = []
            raise ValidationFailed(violations + unknown) from None
        if unknown:
            raise ValidationFailed(unknown)
        spec = accepted.spec
        self._require_gpu_quota(spec)
        experiment = spec.experiment_id
        if experiment is not None and not self._experiments.takes_tasks(who, experiment):
            raise ValidationFailed([NO_SUCH_EXPERIMENT])
        if needs_sources(spec):
            with as_placed(request, project):
                await self._sources.check(who, spec, in_sweep)
        return accepted

    # For sweeps, whose tasks differ in a few fields only.

    def new_id(self, now: int) -> str:
        """Return an id that sorts before those of later tasks."""
        return self._ids.next(now)

    def require_accepting(self, who: Principal, count: int) -> None:
        """Raises an error if the user may not submit `count` tasks of any kind now."""
        refusal = acceptance.refusal(
            self._state,
            who,
            count,
            disk_has_room=self._store.has_room(),
            used=self._usage.used_by(who.user),
            allowed_bytes=self._usage.allowed_bytes,
            slurm_users=self._rules.slurm_users,
        )
        if refusal is not None:
            raise _error(refusal)

    # For services, which are tasks too.

    def require_room(self) -> None:
        """Raises Unavailable if the server takes no new work."""
        refusal = acceptance.closed(self._state, disk_has_room=self._store.has_room())
        if refusal is not None:
            raise _error(refusal)

    def require_quota(self, user: str, spec: TaskSpec) -> None:
        """Raises ValidationFailed, QueueQuotaReached, StorageQuotaReached, Unavailable."""
        self._require_gpu_quota(spec)
        self._require_room_for(user, [spec_footprint(spec)])
        self._usage.require_room(user)

    def _require_gpu_quota(self, spec: TaskSpec) -> None:
        """Raises ValidationFailed."""
        if fault := submit_quotas.gpu_fault(self._state.limits, spec):
            raise ValidationFailed([FieldViolation("gpu", fault)])


def require_valid_key(key: str | None) -> None:
    """Raises BadRequest."""
    if key is not None and (fault := idempotency_keys.key_fault(key)):
        raise BadRequest(f"Idempotency-Key: {fault}")


def _require_valid_keys(keys: Sequence[str | None]) -> None:
    """Raises ValidationFailed."""
    faults = islice(idempotency_keys.key_faults(keys), MAX_VIOLATIONS)
    if violations := [FieldViolation(OF_MANY.key(index), fault) for index, fault in faults]:
        raise ValidationFailed(violations)


def _error(refusal: Refusal) -> RequestError:
    return _ERRORS[refusal.kind](refusal.message)
