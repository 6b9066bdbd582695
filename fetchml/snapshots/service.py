"""Snapshots: trees of code that tasks run, uploaded once and kept while somebody needs them.

What is known of them is in memory and in the store; the trees are files, handled in threads.
"""

import asyncio
import contextlib
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.model import Principal, Role
from fetchml.core.requests import snapshot
from fetchml.core.requests.snapshot import Snapshot, Upload
from fetchml.errors import (
    BadRequest,
    Conflict,
    DiskFull,
    FieldViolation,
    Forbidden,
    NotFound,
    StorageQuotaReached,
    Unavailable,
    ValidationFailed,
)
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.disk_space import is_disk_full
from fetchml.files.storage_usage import StorageUsage
from fetchml.ports.launcher import Owner, PrepareError
from fetchml.ports.store import Store
from fetchml.snapshots.files import DamagedSnapshot, NewSnapshot, SnapshotFiles
from fetchml.snapshots.unpack import RefusedArchive, UnpackLimits, UnreadableArchive
from fetchml.system.clock import Clock
from fetchml.system.locks import KeyedLocks
from fetchml.system.threads import WorkerThreads, run_in_thread

KIND = "snapshot"
MAX_SNAPSHOTS = 10_000
"""They are all in memory, and in one reply that lists them."""
MAX_OF_ONE_USER = 5_000
"""That nobody else has uploaded: one user can't take the place of all others."""
MAX_UPLOADS = 4
"""Of one user at the same time."""
USE_COUNTS_MS = 3_600_000
"""When a snapshot is used is known to this."""
UPKEEP_SECONDS = 3600
WRITE_BYTES = 1 << 20

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_decode = msgspec.json.Decoder(Snapshot).decode

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SnapshotOptions:
    limits: UnpackLimits
    keep_ms: int
    """How long one is kept that nobody uses."""
    private: bool


class Snapshots:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        files: SnapshotFiles,
        settings: SnapshotOptions,
        *,
        audit: Audit,
        usage: StorageUsage,
        named: Callable[[str | None], frozenset[str]],
    ) -> None:
        """`named`: the ids that live tasks and experiments name, which stay: of one user, or of
        all (None)."""
        self._store = store
        self._files = files
        self._settings = settings
        self._audit = audit
        self._usage = usage
        self._named = named
        self._by_id: dict[str, Snapshot] = {}
        self._loaded = asyncio.Event()
        self._clock = Clock()
        self._locks = KeyedLocks()
        """By id: held from reading a record to storing it, and while its tree comes or goes."""
        self._unsaved_use: set[str] = set()
        self._uploads: Counter[str] = Counter()
        """Under way, by user."""
        self._changes: set[asyncio.Task[object]] = set()
        # Apart, so that no upload holds up a task.
        self._unpacking = WorkerThreads("snapshot-unpack", 2, has_room=store.has_room)
        self._copying = WorkerThreads("snapshot-copy", 4, has_room=store.has_room)

    @property
    def max_bytes(self) -> int:
        """Of an archive, packed or unpacked."""
        return self._settings.limits.max_bytes

    async def load(self) -> None:
        """Read what is known from the store, which is open, and sweep the disk."""
        documents = await self._store.list_documents(KIND)
        known = {found.id: snapshot.with_disk_bytes(found) for found in map(_decode, documents)}
        here = await asyncio.to_thread(self._files.open, frozenset(known))
        for snapshot_id in known.keys() - here:
            log.error("a snapshot's files are gone", extra={"snapshot_id": snapshot_id})
            await self._store.delete_document(KIND, snapshot_id)
        self._by_id = {snapshot_id: known[snapshot_id] for snapshot_id in sorted(here)}
        for found in self._by_id.values():
            self._usage.snapshot_changed(None, found)
        self._loaded.set()

    async def upload(
        self,
        who: Principal,
        archive: AsyncIterator[bytes],
        *,
        git_commit: str | None = None,
        git_dirty: bool | None = None,
    ) -> tuple[Snapshot, bool]:
        """Keep the tree in a gzipped tar file; durable on return. False: it was known already."""
        if not permissions.may_submit(who):
            raise Forbidden("A viewer's key can't upload snapshots")
        if git_commit is not None and not _COMMIT.fullmatch(git_commit):
            rule = "must be 40 or 64 hexadecimal digits, in lower case"
            raise ValidationFailed([FieldViolation("git_commit", rule)])
        if not self._store.has_room():
            raise DiskFull
        self._usage.require_room(who.user)
        if self._uploads[who.user] >= MAX_UPLOADS:
            raise Unavailable(f"{MAX_UPLOADS} of your uploads are under way: wait for one to end")
        self._uploads[who.user] += 1
        try:
            with _told_apart():
                new = self._files.begin()
                try:
                    await self._receive(new, archive)
                    unpack = partial(new.unpack, self._settings.limits)
                    snapshot_id = await self._unpacking.run(unpack)
                except BaseException:
                    await run_in_thread(self._files.discard, new)
                    raise
                keep = self._keep(who, new, snapshot_id, git_commit, git_dirty)
                return await self._in_one(keep)
        finally:
            self._uploads[who.user] -= 1

    def get(self, who: Principal, snapshot_id: str) -> Snapshot:
        """It counts as used: a client that asks is about to run it."""
        found = self._by_id.get(snapshot_id)
        if found is None or not snapshot.may_see(who, found, private=self._settings.private):
            raise NotFound(f"There is no snapshot {snapshot_id[:64]!r}")
        return self._shown(who, self._use(found, who.user))

    def list(self, who: Principal) -> list[Snapshot]:
        """All that `who` may see, newest first."""
        seen = [
            self._shown(who, each)
            for each in self._by_id.values()
            if snapshot.may_see(who, each, private=self._settings.private)
        ]
        return sorted(seen, key=lambda each: (each.created_at, each.id), reverse=True)

    def old(self, who: Principal, used_before: int, user: str | None) -> Sequence[Snapshot]:
        """Those that `who` may delete, that nothing live names, and that nobody used since then
        (milliseconds since the epoch, UTC). `user`: only what this one alone has uploaded."""
        private = self._settings.private
        named = self._named(None)
        return [
            each
            for each in self._by_id.values()
            if each.used_at < used_before
            and each.id not in named
            and (user is None or each.users == (user,))
            and snapshot.may_delete(who, each, private=private)
        ]

    async def delete(self, who: Principal, snapshot_id: str) -> None:
        """On a private server it goes only for `who`, if others have uploaded it too."""
        self.get(who, snapshot_id)
        await self._in_one(self._delete(who, snapshot_id))

    async def exists(self, who: Principal, snapshot_id: str) -> bool:
        """Whether `who` may name it. It counts as used, so that it stays until it is named."""
        found = self._by_id.get(snapshot_id)
        if found is None or not snapshot.may_see(who, found, private=self._settings.private):
            return False
        self._use(found, who.user)
        return True

    def to_run(self, user: str, snapshot_id: str) -> Snapshot | None:
        """The snapshot, which counts as used. `None` if the user's tasks may not run it: there is
        none, or on a private server the user has not uploaded it."""
        found = self._find_to_run(user, snapshot_id)
        return None if found is None else self._use(found, user)

    async def copy(self, user: str, snapshot_id: str, attempt: AttemptFolder, owner: Owner) -> None:
        """Make the attempt's workspace the owner's private copy; one that is there is whole, and
        stays as it is.

        Raises PrepareError.
        """
        await self._loaded.wait()
        found = self._find_to_run(user, snapshot_id)
        if found is None:
            raise PrepareError(f"there is no snapshot {snapshot_id!r} here", permanent=True)
        self._use(found, user)
        copy = partial(self._files.copy, snapshot_id, attempt, owner)
        try:
            await self._copying.run(copy)
        except DamagedSnapshot:
            message = f"the files of snapshot {snapshot_id} are damaged: delete and upload it again"
            raise PrepareError(message, permanent=True) from None
        except DiskFull:
            raise PrepareError(DiskFull.REASON, permanent=False) from None
        except OSError as error:
            message = f"the snapshot can't be copied: {error.strerror or error}"
            raise PrepareError(message, permanent=False) from error

    @contextlib.asynccontextmanager
    async def upkeep(self) -> AsyncIterator[None]:
        """While inside, what nobody needs is removed, and what is used is noted, every hour."""

        async def do_at_times() -> None:
            while True:
                try:
                    await self.remove_unused()
                    await self.save_use()
                except Exception:
                    log.exception("the upkeep of snapshots failed")
                await asyncio.sleep(UPKEEP_SECONDS)

        task = asyncio.create_task(do_at_times())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, *self._changes, return_exceptions=True)
            await self.save_use()

    async def remove_unused(self) -> None:
        """Remove what nothing live names and nobody has used for long enough."""

        def is_unused(found: Snapshot) -> bool:
            return found.used_at < self._clock() - self._settings.keep_ms

        unused = [found.id for found in self._by_id.values() if is_unused(found)]
        for snapshot_id in sorted(set(unused) - self._named(None)) if unused else ():
            await self._in_one(self._remove(snapshot_id, is_unused))
            log.info("unused snapshot removed", extra={"snapshot_id": snapshot_id})

    async def save_use(self) -> None:
        while self._unsaved_use:
            snapshot_id = self._unsaved_use.pop()
            async with self._locks.hold(snapshot_id):
                if found := self._by_id.get(snapshot_id):
                    await self._save(found)

    async def _receive(self, new: NewSnapshot, archive: AsyncIterator[bytes]) -> None:
        most = self._settings.limits.max_bytes
        waiting: list[bytes] = []
        size = written = 0
        with new.archive.open("xb") as file:
            async for piece in archive:
                waiting.append(piece)
                size += len(piece)
                if size > most:
                    raise RefusedArchive(f"it is larger than {most} bytes")
                if size - written >= WRITE_BYTES:
                    if not self._store.has_room():
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
        # One after the other for each user: together they may not pass the quota.
        async with self._locks.hold(snapshot_id), self._locks.hold(("user", who.user)):
            now, user = self._clock(), who.user
            known = self._by_id.get(snapshot_id)
            if known is None or user not in known.users:
                try:
                    self._usage.require_room(user, new.disk_bytes)
                except StorageQuotaReached:
                    await asyncio.to_thread(self._files.discard, new)
                    raise
            upload = Upload(now, now, git_commit, git_dirty)
            if known is None:
                if (fault := self._no_place(user)) is not None:
                    await asyncio.to_thread(self._files.discard, new)
                    raise Unavailable(fault)
                await asyncio.to_thread(self._files.keep, new, snapshot_id)
                record = Snapshot(
                    id=snapshot_id,
                    size_bytes=new.size_bytes,
                    file_count=new.file_count,
                    created_at=now,
                    used_at=now,
                    users=(user,),
                    git_commit=git_commit,
                    git_dirty=git_dirty,
                    project_file=new.project_file,
                    uploads={user: upload},
                    disk_bytes=new.disk_bytes,
                )
            else:
                await asyncio.to_thread(self._files.discard, new)
                users = known.users if user in known.users else (*known.users, user)
                upload = replace(known.uploads.get(user, upload), used_at=now)
                record = replace(
                    known, users=users, used_at=now, uploads={**known.uploads, user: upload}
                )
            await self._save(record)
        await self._audit.done(who, Action.SNAPSHOT_UPLOAD, snapshot_id)
        # On a private server nobody learns what others have.
        is_new = known is None or not snapshot.may_see(who, known, private=self._settings.private)
        return self._shown(who, record), is_new

    def _no_place(self, user: str) -> str | None:
        """Why there is no place for one more, if there is none."""
        if len(self._by_id) >= MAX_SNAPSHOTS:
            return f"There are {MAX_SNAPSHOTS} snapshots, as many as the server keeps: delete some"
        if sum(each.users == (user,) for each in self._by_id.values()) >= MAX_OF_ONE_USER:
            return f"You have {MAX_OF_ONE_USER} snapshots, as many as one user may: delete some"
        return None

    async def _delete(self, who: Principal, snapshot_id: str) -> None:
        hides = self._settings.private and who.role is not Role.ADMIN
        async with self._locks.hold(snapshot_id):
            self.get(who, snapshot_id)
            found = self._by_id[snapshot_id]
            if not snapshot.may_delete(who, found, private=self._settings.private):
                raise Forbidden(
                    "Only who alone has uploaded the snapshot, or an admin, may delete it"
                )
            if snapshot_id in self._named(who.user if hides else None):
                raise Conflict("A live task or an experiment names the snapshot: it has to stay")
            left = snapshot.without(who.user, found)
            if hides and left.users:
                await self._save(left)
            else:
                await self._forget(snapshot_id)
        await self._audit.done(who, Action.SNAPSHOT_DELETE, snapshot_id)

    async def _remove(self, snapshot_id: str, still: Callable[[Snapshot], bool]) -> None:
        async with self._locks.hold(snapshot_id):
            found = self._by_id.get(snapshot_id)
            if found is not None and still(found):
                await self._forget(snapshot_id)

    async def _forget(self, snapshot_id: str) -> None:
        self._usage.snapshot_changed(self._by_id.pop(snapshot_id), None)
        await self._store.delete_document(KIND, snapshot_id)
        await asyncio.to_thread(self._files.remove, snapshot_id)

    async def _save(self, record: Snapshot) -> None:
        await self._store.put_document(KIND, record.id, msgspec.json.encode(record))
        self._usage.snapshot_changed(self._by_id.get(record.id), record)
        self._by_id[record.id] = record

    def _shown(self, who: Principal, found: Snapshot) -> Snapshot:
        """On a private server users don't learn that others have uploaded it."""
        if not self._settings.private or who.role is Role.ADMIN:
            return found
        return snapshot.as_seen_by(who.user, found)

    def _find_to_run(self, user: str, snapshot_id: str) -> Snapshot | None:
        found = self._by_id.get(snapshot_id)
        if found is None or (self._settings.private and user not in found.users):
            return None
        return found

    def _use(self, found: Snapshot, user: str) -> Snapshot:
        now = self._clock()
        upload = found.uploads.get(user)
        if now - (upload or found).used_at >= USE_COUNTS_MS:
            uploads = found.uploads
            if upload is not None:
                uploads = {**uploads, user: replace(upload, used_at=now)}
            found = self._by_id[found.id] = replace(found, used_at=now, uploads=uploads)
            self._unsaved_use.add(found.id)
        return found

    async def _in_one(self, change: Coroutine[object, object, T]) -> T:
        """To its end, also when nobody waits for it any more."""
        changing = asyncio.create_task(change)
        self._changes.add(changing)
        changing.add_done_callback(self._changes.discard)
        return await asyncio.shield(changing)


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """What is wrong with an upload, in the words of the API."""
    try:
        yield
    except UnreadableArchive as error:
        raise BadRequest(f"The archive can't be read: {error}") from None
    except RefusedArchive as error:
        raise ValidationFailed([FieldViolation("archive", str(error))]) from None
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull from None
        raise
