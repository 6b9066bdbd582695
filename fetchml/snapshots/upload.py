"""Uploads of snapshots: an archive is received, unpacked within its limits, and kept."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.model import Principal
from fetchml.core.snapshots import Snapshot, Upload
from fetchml.errors import (
    BadRequest,
    DiskFull,
    FieldViolation,
    Forbidden,
    RequestError,
    Unavailable,
    ValidationFailed,
)
from fetchml.files.disk_usage import is_disk_full
from fetchml.files.storage_usage import StorageUsage
from fetchml.snapshots.files import NewSnapshot, SnapshotFiles
from fetchml.snapshots.records import SnapshotRecords
from fetchml.snapshots.unpack import RefusedArchive, UnpackLimits, UnreadableArchive
from fetchml.system.background import BackgroundWork
from fetchml.system.caller_budget import CallerBudget
from fetchml.system.threads import WorkerThreads, run_in_thread

MAX_SNAPSHOTS = 10_000
"""All are in memory, and in one reply that lists them."""
MAX_OF_ONE_USER = 5_000
"""Snapshots that only one user has uploaded: no user can use up the places of all."""
MAX_UPLOADS = 4
"""Uploads of one user at the same time."""
WRITE_BYTES = 1 << 20

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class SnapshotUploads:
    """Used from one event loop."""

    def __init__(
        self,
        records: SnapshotRecords,
        files: SnapshotFiles,
        limits: UnpackLimits,
        *,
        audit: Audit,
        usage: StorageUsage,
        has_room: Callable[[], bool],
        background: BackgroundWork,
    ) -> None:
        """`has_room`: whether the disk has space for more."""
        self._records = records
        self._files = files
        self._limits = limits
        self._audit = audit
        self._usage = usage
        self._has_room = has_room
        self._background = background
        self._uploading = CallerBudget(
            MAX_UPLOADS,
            caller_error=lambda: Unavailable(
                f"Limit of {MAX_UPLOADS} concurrent uploads reached: wait for one to end"
            ),
        )
        """By user."""
        self._unpacking = WorkerThreads("snapshot-unpack", 2, has_room=has_room)

    async def upload(
        self,
        who: Principal,
        archive: AsyncIterator[bytes],
        *,
        git_commit: str | None = None,
        git_dirty: bool | None = None,
    ) -> tuple[Snapshot, bool]:
        """Keep the tree of a gzipped tar file; durable on return. Also returns whether it is new.

        Raises RequestError.
        """
        if not permissions.may_submit(who):
            raise Forbidden("Viewers cannot upload snapshots")
        if git_commit is not None and not _COMMIT.fullmatch(git_commit):
            rule = "must be 40 or 64 hexadecimal digits, in lower case"
            raise ValidationFailed([FieldViolation("git_commit", rule)])
        if not self._has_room():
            raise DiskFull
        self._usage.require_room(who.user)
        with self._uploading.hold(who.user), _as_request_errors():
            new = self._files.begin()
            try:
                await self._receive(new, archive)
                snapshot_id = await self._unpacking.run(partial(new.unpack, self._limits))
            except BaseException:
                await run_in_thread(self._files.discard, new)
                raise
            keep = self._keep(who, new, snapshot_id, git_commit, git_dirty)
            return await self._background.run_to_completion(keep)

    async def _receive(self, new: NewSnapshot, archive: AsyncIterator[bytes]) -> None:
        most = self._limits.max_bytes
        waiting: list[bytes] = []
        size = written = 0
        with new.archive.open("xb") as file:
            async for piece in archive:
                waiting.append(piece)
                size += len(piece)
                if size > most:
                    raise RefusedArchive(f"it is larger than {most} bytes")
                if size - written >= WRITE_BYTES:
                    if not self._has_room():
                        raise DiskFull
                    await run_in_thread(file.writelines, waiting)
                    waiting, written = [], size
            await run_in_thread(file.writelines, waiting)

    async def _keep(
        self,
        who: Principal,
        new: NewSnapshot,
        snapshot_id: str,
        git_commit: str | None,
        git_dirty: bool | None,
    ) -> tuple[Snapshot, bool]:
        locks = self._records.locks
        # One after the other for each user: together they must not exceed the quota.
        async with locks.hold(snapshot_id), locks.hold(("user", who.user)):
            earlier = self._records.get(snapshot_id)
            now = self._records.clock()
            upload = Upload(now, now, git_commit, git_dirty)
            try:
                self._require_capacity(who.user, new, earlier)
            except RequestError:
                await asyncio.to_thread(self._files.discard, new)
                raise
            if earlier is None:
                await asyncio.to_thread(self._files.keep, new, snapshot_id)
                record = _first_record(new, snapshot_id, who.user, upload)
            else:
                await asyncio.to_thread(self._files.discard, new)
                record = _uploaded_again(earlier, new, who.user, upload)
            await self._records.put(record)
        await self._audit.done(who, Action.SNAPSHOT_UPLOAD, snapshot_id)
        # A private server does not reveal what others have uploaded.
        is_new = earlier is None or not self._records.may_see(who, earlier)
        return self._records.view(who, record), is_new

    def _require_capacity(self, user: str, new: NewSnapshot, earlier: Snapshot | None) -> None:
        """Raises StorageQuotaReached, Unavailable."""
        if earlier is None or user not in earlier.users:
            self._usage.require_room(user, new.disk_bytes)
        if earlier is not None:
            return
        if len(self._records) >= MAX_SNAPSHOTS:
            raise Unavailable(f"Server limit of {MAX_SNAPSHOTS} snapshots reached: delete some")
        if sum(each.users == (user,) for each in self._records) >= MAX_OF_ONE_USER:
            raise Unavailable(f"Per-user snapshot limit ({MAX_OF_ONE_USER}) reached: delete some")


def _first_record(new: NewSnapshot, snapshot_id: str, user: str, upload: Upload) -> Snapshot:
    return Snapshot(
        id=snapshot_id,
        size_bytes=new.size_bytes,
        file_count=new.file_count,
        created_at=upload.created_at,
        used_at=upload.used_at,
        users=(user,),
        git_commit=upload.git_commit,
        git_dirty=upload.git_dirty,
        project_file=new.project_file,
        parsed=new.parsed,
        uploads={user: upload},
        disk_bytes=new.disk_bytes,
    )


def _uploaded_again(earlier: Snapshot, new: NewSnapshot, user: str, upload: Upload) -> Snapshot:
    used_at = upload.used_at
    users = earlier.users if user in earlier.users else (*earlier.users, user)
    upload = replace(earlier.uploads.get(user, upload), used_at=used_at)
    uploads = {**earlier.uploads, user: upload}
    return replace(earlier, parsed=new.parsed, users=users, used_at=used_at, uploads=uploads)


@contextlib.contextmanager
def _as_request_errors() -> Iterator[None]:
    """Translate the faults of an upload into the errors of the API."""
    try:
        yield
    except UnreadableArchive as error:
        raise BadRequest(f"Cannot read the archive: {error}") from None
    except RefusedArchive as error:
        raise ValidationFailed([FieldViolation("archive", str(error))]) from None
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull from None
        raise
