"""Experiments: named groups of tasks. All are in memory and in the store."""

from collections.abc import Awaitable, Callable, Mapping

from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.model import Principal
from fetchml.core.requests import experiment
from fetchml.core.requests.experiment import KNOWN_FIELDS, Experiment, ExperimentStatus
from fetchml.engine.experiments.known import KnownExperiments
from fetchml.engine.experiments.views import ExperimentView
from fetchml.errors import (
    DiskFull,
    FieldViolation,
    Forbidden,
    NotFound,
    Unavailable,
    ValidationFailed,
)
from fetchml.ports.store import Store
from fetchml.system.ids import IdSequence

MAX_EXPERIMENTS = 10_000
"""They are all in memory, and in one reply that lists them."""
MAX_OF_ONE_USER = 5_000
"""So that one user can't take the place of all others."""


class Experiments:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        known: KnownExperiments,
        store: Store,
        audit: Audit,
        *,
        clock: Callable[[], int],
        ids: IdSequence,
        private: bool,
        snapshot_exists: Callable[[Principal, str], Awaitable[bool]],
    ) -> None:
        self._records = known.records
        self._counts = known.counts
        self._store = store
        self._audit = audit
        self._clock = clock
        self._ids = ids
        self._private = private
        self._snapshot_exists = snapshot_exists

    async def create(self, who: Principal, request: Mapping[str, object]) -> Experiment:
        """Durable on return, as with the other verbs."""
        if not permissions.may_submit(who):
            raise Forbidden("A viewer's key can't create experiments")
        if violations := experiment.violations(request):
            raise ValidationFailed([FieldViolation(*violation) for violation in violations])
        fields = {name: request[name] for name in KNOWN_FIELDS & request.keys()}
        commit_id = fields.get("commit_id")
        if commit_id is not None and not await self._snapshot_exists(who, str(commit_id)):
            raise ValidationFailed([FieldViolation("commit_id", "no such snapshot")])
        if not self._store.has_room():
            raise DiskFull
        return await self._records.change(self._create, who, fields)

    def get(self, who: Principal, experiment_id: str) -> Experiment:
        found = self._records.get(experiment_id)
        if found is None or not permissions.may_see(who, found, private=self._private):
            raise NotFound(f"There is no experiment {experiment_id[:64]!r}")
        return found

    def list(self, who: Principal) -> list[Experiment]:
        """All that `who` may see, newest first."""
        return [
            each
            for each in self._records.newest_first()
            if permissions.may_see(who, each, private=self._private)
        ]

    def with_counts(self, who: Principal, found: Experiment) -> ExperimentView:
        """Add the numbers of the tasks that `who` may see."""
        sees_all = permissions.sees_all(who, private=self._private)
        return ExperimentView(found, self._counts, None if sees_all else who.user)

    async def archive(self, who: Principal, experiment_id: str) -> Experiment:
        """It takes no more tasks; those that it has go on. Archived ones stay as they are."""
        self._find_to_end(who, experiment_id)
        return await self._records.change(self._archive, who, experiment_id)

    async def delete(self, who: Principal, experiment_id: str) -> None:
        """It is gone; its tasks stay, and go on naming it."""
        self._find_to_end(who, experiment_id)
        await self._records.change(self._delete, who, experiment_id)

    def takes_tasks(self, who: Principal, experiment_id: str) -> bool:
        """Whether `who` may submit a task that names this experiment."""
        found = self._records.get(experiment_id)
        return (
            found is not None
            and found.status is ExperimentStatus.ACTIVE
            and permissions.may_see(who, found, private=self._private)
        )

    def _find_to_end(self, who: Principal, experiment_id: str) -> Experiment:
        found = self.get(who, experiment_id)
        if not permissions.may_end(who, found):
            raise Forbidden("Only the experiment's owner or an admin may archive or delete it")
        return found

    async def _create(self, who: Principal, fields: dict[str, object]) -> Experiment:
        if len(self._records) >= MAX_EXPERIMENTS:
            raise Unavailable(
                f"There are {MAX_EXPERIMENTS} experiments, as many as the server keeps: delete some"
            )
        if sum(each.user == who.user for each in self._records) >= MAX_OF_ONE_USER:
            raise Unavailable(f"Per-user experiment limit ({MAX_OF_ONE_USER}) reached: delete some")
        now = self._clock()
        made = Experiment(self._ids.next(now), who.user, created_at=now, **fields)  # type: ignore[arg-type]
        await self._records.put(made)
        await self._audit.done(who, Action.EXPERIMENT_CREATE, made.id, made.name)
        return made

    async def _archive(self, who: Principal, experiment_id: str) -> Experiment:
        found = self._find_to_end(who, experiment_id)
        if found.status is ExperimentStatus.ACTIVE:
            found = replace(found, status=ExperimentStatus.ARCHIVED)
            await self._records.put(found)
            await self._audit.done(who, Action.EXPERIMENT_ARCHIVE, found.id, found.name)
        return found

    async def _delete(self, who: Principal, experiment_id: str) -> None:
        found = self._find_to_end(who, experiment_id)
        await self._records.remove(experiment_id)
        self._counts.forget(experiment_id)
        await self._audit.done(who, Action.EXPERIMENT_DELETE, found.id, found.name)
