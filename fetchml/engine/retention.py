"""Removes old tasks, outputs and snapshots: by age, as set, and on request (`fetchml prune`).

In small portions, so that no request waits for a large one.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import permissions, storage
from fetchml.core.audit import Action
from fetchml.core.model import Principal
from fetchml.core.requests import pruning
from fetchml.core.requests.pruning import MOST_AT_ONCE, Pruned, Pruning, What
from fetchml.engine.ended_tasks import EndedTasks
from fetchml.environments.cache import Packages, Record
from fetchml.environments.environment_service import Environments
from fetchml.errors import Conflict, FieldViolation, Forbidden, NotFound, ValidationFailed, forbid
from fetchml.files.storage_usage import StorageUsage, UserStorage
from fetchml.files.volume_usage import VolumeReport, VolumeUsage
from fetchml.ports.store import OldTasks, Store
from fetchml.snapshots.snapshot_service import Snapshots
from fetchml.system.background import every

HOUR_SECONDS = 3600
FIRST_SECONDS = 90
PAUSE_SECONDS = 0.25
"""Between two portions of what is too old."""
EVERYBODY = "*"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    keep_ms: int
    """Retention of ended tasks; 0: for ever."""
    outputs_keep_ms: int
    """Retention of their outputs; 0: as long as the tasks."""


class StorageReport(NamedTuple):
    users: list[UserStorage]
    allowed_bytes: int
    """Limit of each user's files; 0: no limit."""
    volumes: list[VolumeReport]


class Retention:
    """Used from one event loop."""

    def __init__(
        self,
        store: Store,
        ended: EndedTasks,
        snapshots: Snapshots,
        usage: StorageUsage,
        audit: Audit,
        settings: RetentionSettings,
        clock: Callable[[], int],
        *,
        environments: Environments,
        volumes: VolumeUsage,
    ) -> None:
        self._environments = environments
        self._store = store
        self._ended = ended
        self._snapshots = snapshots
        self._usage = usage
        self._volumes = volumes
        self._audit = audit
        self._settings = settings
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    def report(self, who: Principal) -> StorageReport:
        """Return the storage of all users, and the volumes, that the caller may see."""
        users, volumes = self._usage.seen_by(who), self._volumes.seen_by(who)
        return StorageReport(users, self._usage.allowed_bytes, volumes)

    @contextlib.asynccontextmanager
    async def upkeep(self) -> AsyncIterator[None]:
        """While inside, what is too old is removed, every hour."""
        failure = "what is too old can't be removed"
        async with every(HOUR_SECONDS, self.remove_old, first=FIRST_SECONDS, failure=failure):
            yield

    async def remove_old(self) -> None:
        """Remove everything older than the retention in the settings."""
        if self._settings.keep_ms:
            old = OldTasks(self._clock() - self._settings.keep_ms, limit=MOST_AT_ONCE)
            while found := await self._store.old_tasks(old):
                removed = await self._ended.remove([task.id for task in found])
                # Behind those that stay, since live tasks need their outputs.
                old = replace(old, after=(found[-1].created_at, found[-1].id))
                log.info("old tasks removed", extra={"number": len(removed)})
                await asyncio.sleep(PAUSE_SECONDS)
        if self._settings.outputs_keep_ms:
            before = self._clock() - self._settings.outputs_keep_ms
            old = OldTasks(before, with_outputs=True, limit=MOST_AT_ONCE)
            while found := await self._store.old_tasks(old):
                removed = await self._ended.remove_outputs([task.id for task in found])
                log.info("old outputs removed", extra={"number": len(removed)})
                old = replace(old, after=(found[-1].created_at, found[-1].id))
                await asyncio.sleep(PAUSE_SECONDS)

    async def prune(self, who: Principal, request: Mapping[str, object]) -> Pruned:
        """Count what is old, or remove a portion of it. Raises ValidationFailed, Forbidden."""
        wanted, violations = pruning.pruning(request)
        if wanted is None:
            raise ValidationFailed([FieldViolation(*violation) for violation in violations])
        forbid(permissions.prune_refusal(who, wanted.user))
        if not permissions.manages_all(who):
            wanted = replace(wanted, user=who.user)
        if not wanted.apply:
            return await self._count(who, wanted)
        async with self._one_at_a_time:
            done = await self._remove(who, wanted)
        # What is under way may be found once more: nothing removed means nothing left.
        left = await self._count(who, wanted)
        removed = done.tasks + done.outputs + done.snapshots + done.environments
        more = left.tasks + left.outputs + left.snapshots + left.environments
        done = replace(done, left=more if removed else 0)
        if removed:
            detail = (
                f"{done.tasks} tasks, outputs of {done.outputs}, {done.snapshots} snapshots, "
                f"{done.environments} environments, {storage.size(done.bytes)}, "
                f"older than {wanted.older_than_seconds} s"
            )
            await self._audit.done(who, Action.STORAGE_PRUNE, wanted.user or EVERYBODY, detail)
        return done

    def _query(self, wanted: Pruning, *, with_outputs: bool) -> OldTasks:
        return OldTasks(
            self._clock() - wanted.older_than_seconds * 1000,
            user=wanted.user,
            states=wanted.states,
            with_outputs=with_outputs,
            limit=MOST_AT_ONCE,
        )

    async def _count(self, who: Principal, wanted: Pruning) -> Pruned:
        total = Pruned()
        if What.TASKS in wanted.kinds:
            found = await self._store.count_old_tasks(self._query(wanted, with_outputs=False))
            used = storage.kept_outputs(found.kept).plus(storage.kept_logs(found.kept))
            total = replace(total, tasks=found.tasks, bytes=used.bytes, files=used.files)
        elif What.OUTPUTS in wanted.kinds:
            found = await self._store.count_old_tasks(self._query(wanted, with_outputs=True))
            used = storage.kept_outputs(found.kept)
            total = replace(total, outputs=found.tasks, bytes=used.bytes, files=used.files)
        if What.SNAPSHOTS in wanted.kinds:
            before = self._clock() - wanted.older_than_seconds * 1000
            old = self._snapshots.old(who, before, wanted.user)
            total = replace(
                total,
                snapshots=len(old),
                bytes=total.bytes + sum(each.disk_bytes for each in old),
                files=total.files + sum(each.file_count for each in old),
            )
        if What.ENVIRONMENTS in wanted.kinds:
            unused = self._environments.old(self._clock() - wanted.older_than_seconds * 1000)
            total = _with_environments(total, [each for each in unused if wanted.owns(each.user)])
        return total

    async def _remove(self, who: Principal, wanted: Pruning) -> Pruned:
        """A portion."""
        total = Pruned()
        if What.TASKS in wanted.kinds:
            found = await self._store.old_tasks(self._query(wanted, with_outputs=False))
            removed = await self._ended.remove([task.id for task in found])
            used = storage.NOTHING
            for task in removed:
                used = used.plus(storage.kept_outputs(task.kept)).plus(storage.kept_logs(task.kept))
            total = replace(total, tasks=len(removed), bytes=used.bytes, files=used.files)
        elif What.OUTPUTS in wanted.kinds:
            found = await self._store.old_tasks(self._query(wanted, with_outputs=True))
            removed = await self._ended.remove_outputs([task.id for task in found])
            used = storage.NOTHING
            for task in removed:
                used = used.plus(storage.kept_outputs(task.kept))
            total = replace(total, outputs=len(removed), bytes=used.bytes, files=used.files)
        if What.SNAPSHOTS in wanted.kinds:
            before = self._clock() - wanted.older_than_seconds * 1000
            for each in self._snapshots.old(who, before, wanted.user)[:MOST_AT_ONCE]:
                # Whoever began to use it meanwhile keeps it.
                with contextlib.suppress(Conflict, NotFound, Forbidden):
                    await self._snapshots.delete(who, each.id)
                    total = replace(
                        total,
                        snapshots=total.snapshots + 1,
                        bytes=total.bytes + each.disk_bytes,
                        files=total.files + each.file_count,
                    )
        if What.ENVIRONMENTS in wanted.kinds:
            before = self._clock() - wanted.older_than_seconds * 1000
            unused = [each for each in self._environments.old(before) if wanted.owns(each.user)]
            removed_now = await self._environments.remove(unused[:MOST_AT_ONCE])
            total = _with_environments(total, removed_now)
        return total


def _with_environments(total: Pruned, found: Sequence[Record | Packages]) -> Pruned:
    return replace(
        total,
        environments=len(found),
        bytes=total.bytes + sum(each.bytes for each in found),
        files=total.files + sum(each.files for each in found),
    )
