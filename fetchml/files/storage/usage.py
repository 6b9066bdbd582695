"""Disk usage by user, and the quota on it.

Nothing here reads the disk. The durable records of snapshots and ended tasks have their sizes;
`monitor` reports what running tasks write every half minute. A query takes constant time.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from fetchml.core import storage
from fetchml.core.model import ENDED, Change, Kept, Principal, Task
from fetchml.core.permissions import manages_all
from fetchml.core.snapshots import Snapshot
from fetchml.core.storage import NOTHING, Kind, Used
from fetchml.errors import StorageQuotaReached

MAX_UNRECORDED = 100_000
"""Maximum number of ended tasks of older releases, without a size in their record, that count."""


@dataclass(frozen=True, slots=True)
class UserStorage:
    """Disk usage of one user."""

    user: str
    used: Mapping[Kind, Used]

    @property
    def total(self) -> Used:
        total = NOTHING
        for each in self.used.values():
            total = total.plus(each)
        return total


@dataclass(slots=True)
class _Live:
    """A task that has not ended, as last measured."""

    user: str
    used: dict[Kind, Used] = field(default_factory=dict)


class StorageUsage:
    """Used from one event loop."""

    def __init__(self, allowed_bytes: int) -> None:
        """`allowed_bytes` is the quota of each user; 0 is no quota."""
        self.allowed_bytes = allowed_bytes
        self._users: dict[str, dict[Kind, Used]] = {}
        self._live: dict[str, _Live] = {}
        """By task id."""
        self._environments: dict[str, Used] = {}
        """By user."""
        self._unrecorded: dict[str, tuple[str, Kept]] = {}
        """By the id of an ended task whose record has no size."""

    # Queries.

    def require_room(self, user: str, more_bytes: int = 0) -> None:
        """Raises StorageQuotaReached if the user may not add `more_bytes`."""
        if not self.allowed_bytes:
            return
        fault = storage.quota_fault(self._users.get(user, {}), self.allowed_bytes, more_bytes)
        if fault is not None:
            raise StorageQuotaReached(fault)

    def used_by(self, user: str) -> Mapping[Kind, Used]:
        """Not to be changed; kinds that are missing take nothing."""
        return self._users.get(user, {})

    def of(self, user: str) -> UserStorage:
        used = self._users.get(user, {})
        return UserStorage(user, {kind: used.get(kind, NOTHING) for kind in Kind})

    def seen_by(self, who: Principal) -> list[UserStorage]:
        """Return all users' usage for an admin, the largest first; otherwise the caller's own."""
        if not manages_all(who):
            return [self.of(who.user)]
        everybody = [self.of(user) for user in self._users]
        return sorted(everybody, key=lambda each: (-each.total.bytes, each.user))

    # Reports of the owners of files.

    def load(self, kept: Mapping[str, Kept]) -> None:
        """Set what ended tasks keep, by user. At the start."""
        for user, each in kept.items():
            self._add_kept(user, each)

    def committed(self, changes: Sequence[Change]) -> None:
        """Account for changes that are durable, in order."""
        for change in changes:
            task = change.task
            if task.status not in ENDED or change.is_after_end:
                continue
            if task.hidden:
                self._forget_ended(task)
            else:
                self._drop_live(task.id)
                if not task.service:
                    self._add_kept(task.user, task.kept)

    def outputs_removed(self, before: Task, after: Task) -> None:
        """Apply the removal of an ended task's outputs."""
        self._forget_ended(before)
        self._add_kept(after.user, after.kept)

    def live_measured(self, task: Task, used: Mapping[Kind, Used]) -> None:
        """Set the current usage of a task that has not ended."""
        live = self._live.setdefault(task.id, _Live(task.user))
        for kind in used.keys() | live.used.keys():
            more = used.get(kind, NOTHING).minus(live.used.get(kind, NOTHING))
            self._add(live.user, kind, more)
        live.used = dict(used)

    @contextmanager
    def reserve(self, task: Task, kind: Kind, size: Used) -> Iterator[None]:
        """Count what is being written for a task that has not ended, until a measurement finds it.

        Raises StorageQuotaReached if the user may not add as much. Nothing stays counted if the
        code inside fails.
        """
        self.require_room(task.user, size.bytes)
        self._add(task.user, kind, size)
        try:
            yield
        except BaseException:
            self._add(task.user, kind, NOTHING.minus(size))
            raise
        live = self._live.setdefault(task.id, _Live(task.user))
        live.used[kind] = live.used.get(kind, NOTHING).plus(size)

    def forget_live(self, but: frozenset[str]) -> None:
        """Forget all live tasks except `but`."""
        for task_id in self._live.keys() - but:
            self._drop_live(task_id)

    def snapshot_changed(self, before: Snapshot | None, after: Snapshot | None) -> None:
        for found, sign in ((before, -1), (after, 1)):
            if found is not None:
                for user in found.users:
                    used = Used(sign * found.disk_bytes, sign * max(found.file_count, 1))
                    self._add(user, Kind.SNAPSHOTS, used)

    def workspace_changed(self, user: str, before: Used, after: Used) -> None:
        """Apply a new measurement of a Jupyter workspace."""
        self._add(user, Kind.JUPYTER, after.minus(before))

    def environments_measured(self, used: Mapping[str, Used]) -> None:
        """Set the present usage of environments, by user."""
        for user in used.keys() | self._environments.keys():
            before = self._environments.get(user, NOTHING)
            self._add(user, Kind.ENVIRONMENTS, used.get(user, NOTHING).minus(before))
        self._environments = dict(used)

    def unrecorded(self, task: Task, kept: Kept) -> None:
        """Set the measured usage of an ended task of an older release."""
        if task.kept is not None or len(self._unrecorded) >= MAX_UNRECORDED:
            return
        _, known = self._unrecorded.pop(task.id, (task.user, Kept()))
        self._remove_kept(task.user, known)
        self._unrecorded[task.id] = task.user, kept
        self._add_kept(task.user, kept)

    def _forget_ended(self, task: Task) -> None:
        _, unrecorded = self._unrecorded.pop(task.id, (task.user, None))
        self._remove_kept(task.user, task.kept or unrecorded)

    def _drop_live(self, task_id: str) -> None:
        live = self._live.pop(task_id, None)
        if live is not None:
            for kind, used in live.used.items():
                self._add(live.user, kind, NOTHING.minus(used))

    def _add_kept(self, user: str, kept: Kept | None) -> None:
        self._add(user, Kind.OUTPUTS, storage.kept_outputs(kept))
        self._add(user, Kind.LOGS, storage.kept_logs(kept))

    def _remove_kept(self, user: str, kept: Kept | None) -> None:
        self._add(user, Kind.OUTPUTS, NOTHING.minus(storage.kept_outputs(kept)))
        self._add(user, Kind.LOGS, NOTHING.minus(storage.kept_logs(kept)))

    def _add(self, user: str, kind: Kind, more: Used) -> None:
        if more == NOTHING:
            return
        kinds = self._users.setdefault(user, {})
        total = kinds.pop(kind, NOTHING).plus(more)
        if total != NOTHING:
            kinds[kind] = Used(max(0, total.bytes), max(0, total.files))
        elif not kinds:
            del self._users[user]
