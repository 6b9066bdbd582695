"""Experiments: named groups of tasks. All are in memory and in the store, with the numbers of their
tasks by user and status."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.model import ENDED, Change, Principal, Status, Task
from fetchml.core.requests import checks
from fetchml.core.requests.experiment import (
    Experiment,
    ExperimentRequest,
    ExperimentStatus,
    TagsRequest,
)
from fetchml.errors import (
    DiskFull,
    FieldViolation,
    Forbidden,
    NotFound,
    Unavailable,
    ValidationFailed,
)
from fetchml.ports.store import Store, StoredState
from fetchml.records import Documents, RecordSet
from fetchml.system.ids import IdSequence


class ExperimentCounts:
    """Used from one event loop. Deleted tasks do not count."""

    def __init__(self, restored: StoredState, exists: Callable[[str], bool]) -> None:
        """`exists`: whether there is an experiment with this id. Tasks keep the id of one that was
        deleted, and then count nowhere."""
        self._exists = exists
        self._counts: dict[str, dict[str, Counter[Status]]] = {}
        """By experiment and user: on a private server only their own are shown to a user."""
        self._live: dict[str, Status] = {}
        """The status of each live task that is in an experiment, by id."""
        for (experiment_id, user, status), number in restored.experiment_counts.items():
            if status in ENDED and exists(experiment_id):
                self._of(experiment_id, user)[status] = number
        for task in restored.live:
            self._changed(task)

    def committed(self, changes: Sequence[Change]) -> None:
        """Take over changes that are durable, in order."""
        for change in changes:
            if change.task.spec.experiment_id is not None and not change.is_after_end:
                self._changed(change.task)

    def of(self, experiment_id: str, user: str | None) -> Mapping[Status, int]:
        """The number of tasks by the status that clients see. `user`: count only this user's
        tasks; `None`: all."""
        by_user = self._counts.get(experiment_id, {})
        if user is not None:
            return by_user.get(user, {})
        total = Counter[Status]()
        for counts in by_user.values():
            total.update(counts)
        return total

    def forget(self, experiment_id: str) -> None:
        """Drop the counts of an experiment that was deleted."""
        self._counts.pop(experiment_id, None)

    def _changed(self, task: Task) -> None:
        before = self._live.pop(task.id, None)
        experiment_id = task.spec.experiment_id
        if experiment_id is None or not self._exists(experiment_id):
            return
        counts = self._of(experiment_id, task.user)
        if task.hidden:
            counts[task.status] -= 1
            return
        if before is not None:
            counts[before] -= 1
        counts[task.shown_status] += 1
        if task.status not in ENDED:
            self._live[task.id] = task.shown_status

    def _of(self, experiment_id: str, user: str) -> Counter[Status]:
        return self._counts.setdefault(experiment_id, {}).setdefault(user, Counter())


class ExperimentView(NamedTuple):
    """An experiment with the state of its tasks."""

    experiment: Experiment
    all_counts: ExperimentCounts
    user: str | None
    """The user whose tasks alone are visible to the caller; `None` if all are."""

    @property
    def counts(self) -> Mapping[Status, int]:
        """Tasks that the caller may see, by the status that clients see."""
        return self.all_counts.of(self.experiment.id, self.user)


KIND = "experiment"


class KnownExperiments(NamedTuple):
    """All experiments, oldest first, as the order of their ids is, and the numbers of their
    tasks."""

    records: RecordSet[Experiment]
    counts: ExperimentCounts

    @classmethod
    async def load(cls, store: Documents, restored: StoredState) -> "KnownExperiments":
        """Read them from the open store."""
        records = RecordSet(store, KIND, Experiment, lambda each: each.id)
        await records.load()
        return cls(records, ExperimentCounts(restored, records.__contains__))


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
        asked, violations = checks.read(request, ExperimentRequest)
        if asked is None:
            raise ValidationFailed([FieldViolation(*violation) for violation in violations])
        commit_id = asked.commit_id
        if commit_id is not None and not await self._snapshot_exists(who, commit_id):
            raise ValidationFailed([FieldViolation("commit_id", "snapshot not found")])
        if not self._store.has_room():
            raise DiskFull
        return await self._records.change(self._create, who, asked)

    def get(self, who: Principal, experiment_id: str) -> Experiment:
        found = self._records.get(experiment_id)
        if found is None or not permissions.may_see(who, found, private=self._private):
            raise NotFound(f"Experiment {experiment_id[:64]!r} not found")
        return found

    def named(self, who: Principal, name: str) -> Experiment | None:
        """Return the experiment with this name: the caller's own before those of others, an active
        one before archived ones, the newest; `None` if the caller sees none."""
        seen = [each for each in self.list(who) if each.name == name]
        return max(
            seen,
            key=lambda each: (
                each.status is ExperimentStatus.ACTIVE,
                each.user == who.user,
                each.created_at,
            ),
            default=None,
        )

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

    async def update(
        self,
        who: Principal,
        experiment_id: str,
        *,
        name: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        active: bool = False,
    ) -> Experiment:
        """Rename it, set tags (`None` removes one), take it back from the archive. What is `None`
        stays."""
        self._find_to_end(who, experiment_id)
        return await self._records.change(self._update, who, experiment_id, name, tags, active)

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
        if not permissions.may_change(who, found):
            raise Forbidden("Only the experiment's owner or an admin may change it")
        return found

    async def _create(self, who: Principal, asked: ExperimentRequest) -> Experiment:
        if len(self._records) >= MAX_EXPERIMENTS:
            raise Unavailable(f"Limit of {MAX_EXPERIMENTS} experiments reached: delete some")
        if sum(each.user == who.user for each in self._records) >= MAX_OF_ONE_USER:
            raise Unavailable(f"Per-user experiment limit ({MAX_OF_ONE_USER}) reached: delete some")
        now = self._clock()
        made = Experiment(
            self._ids.next(now), who.user, asked.name, now, asked.description, asked.commit_id
        )
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

    async def _update(
        self,
        who: Principal,
        experiment_id: str,
        name: str | None,
        tags: Mapping[str, str | None] | None,
        active: bool,
    ) -> Experiment:
        found = self._find_to_end(who, experiment_id)
        changed = {**found.tags, **(tags or {})}
        changed_tags = {key: value for key, value in changed.items() if value is not None}
        asked = {"name": found.name if name is None else name}
        for request, rules in ((asked, ExperimentRequest), ({"tags": changed_tags}, TagsRequest)):
            _, violations = checks.read(request, rules)
            if violations:
                raise ValidationFailed([FieldViolation(*violation) for violation in violations])
        after = replace(
            found,
            name=asked["name"],
            tags=changed_tags,
            status=ExperimentStatus.ACTIVE if active else found.status,
        )
        if after != found:
            await self._records.put(after)
            await self._audit.done(who, Action.EXPERIMENT_UPDATE, after.id, after.name)
        return after

    async def _delete(self, who: Principal, experiment_id: str) -> None:
        found = self._find_to_end(who, experiment_id)
        await self._records.remove(experiment_id)
        self._counts.forget(experiment_id)
        await self._audit.done(who, Action.EXPERIMENT_DELETE, found.id, found.name)
