"""The store: what the server remembers across restarts.

1. `open` creates, migrates or recovers the store and returns what it holds.
2. `append`, `append_audit`, `put_key`, `put_document` and `delete_document` write; all other
   methods read. Both in any order, from one event loop.
3. `close` makes everything durable and releases the files.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from fetchml.core.audit import Action, AuditEntry
from fetchml.core.model import Change, Kept, Key, Status, Task
from fetchml.core.sweeps.progress import Failures
from fetchml.ports.history_store import HistoryStore
from fetchml.ports.tracking_store import TrackingStore
from fetchml.ports.usage_store import UsageStore


class TaskQuery(msgspec.Struct, frozen=True):
    """Which tasks to list. An empty or `None` field does not restrict the result."""

    states: tuple[Status, ...] = ()
    """Compared with `Task.shown_status`."""
    user: str | None = None
    job_name_prefix: str | None = None
    experiment_id: str | None = None
    text: str | None = None
    """Part of the job name, the id, the command, `args` or the error, in upper or lower case."""
    labels: tuple[tuple[str, str | None], ...] = ()
    """Keys and values that the metadata must have; `None` stands for any value."""
    created_after: int | None = None
    """Only tasks created at this time or later."""
    created_before: int | None = None
    """Only tasks created before this time."""
    id_suffix: str | None = None
    sweep_id: str | None = None
    """Tasks that were submitted again in their sweep are left out."""
    fold_sweeps: bool = False
    """Of each sweep only its newest task that matches. Tasks that were submitted again in their
    sweep are not of it any more."""
    fold_experiments: bool = False
    """Of each experiment only its newest task that matches, of whatever sweep."""
    limit: int = 50
    offset: int = 0
    before: tuple[int, str] | None = None
    """Only tasks older than this `(created_at, id)`: the position that a page token holds."""
    most_bytes: int | None = None
    """Maximum size of a page. The first task is returned even if it alone is larger."""
    brief: bool = False
    """Command, `args`, `env`, `metadata` and `dataset_specs` may be missing from the result."""

    @property
    def is_search(self) -> bool:
        """Whether it reads the data of all tasks that the other filters let through."""
        return self.text is not None or bool(self.labels)


class TaskPage(msgspec.Struct, frozen=True):
    tasks: list[Task]
    """Newest first: by `created_at`, then `id`, both descending."""
    total: int
    """All tasks that match, also those that are folded, or on other pages."""
    cut: bool = False
    """The page ends early because of `most_bytes`."""


class OldTasks(msgspec.Struct, frozen=True):
    """Which visible ended tasks retention considers."""

    ended_before: int
    """Milliseconds since the epoch (UTC)."""
    user: str | None = None
    states: tuple[Status, ...] = ()
    """Final states; empty means both."""
    with_outputs: bool = False
    """Only tasks whose outputs use disk space."""
    after: tuple[int, str] | None = None
    """Only tasks younger than this `(created_at, id)`: where the next page begins."""
    limit: int = 100


class OldTasksTotal(msgspec.Struct, frozen=True):
    """The number of tasks that match, and the size of their files."""

    tasks: int
    kept: Kept


class AuditQuery(msgspec.Struct, frozen=True):
    """Which audit entries to list. A `None` field does not restrict the result."""

    user: str | None = None
    action: Action | None = None
    target: str | None = None
    since: int | None = None
    """Milliseconds since the epoch (UTC)."""
    before: str | None = None
    """Only entries older than the one with this id, a UUIDv7."""
    limit: int = 50


class StoredState(msgspec.Struct):
    """The content of the store when it is opened."""

    instance_id: str
    """Identifies this data directory for its whole life; containers are labelled with it."""
    last_seq: int
    last_created_at: int
    live: list[Task]
    """Every task that has not ended, oldest first."""
    recent: dict[Status, list[Task]]
    """The newest visible tasks of each final state, newest first: `recent_limit` of each, fewer
    if they would take more than `recent_bytes` of memory."""
    counts: dict[tuple[str, Status], int]
    """Visible tasks in the whole store by (user, status)."""
    sweep_counts: dict[tuple[str, Status], int] = {}
    """The same by (sweep, status), for tasks that are in a sweep."""
    sweep_failures: dict[str, Failures] = {}
    """Failed tasks by sweep, deleted ones included."""
    experiment_counts: dict[tuple[str, str, Status], int] = {}
    """Visible tasks by (experiment, user, status), for those that are in an experiment."""


class SweepTask(msgspec.Struct, frozen=True):
    """A task with its place in a sweep."""

    index: int
    id: str
    status: Status
    has_outputs: bool
    """False if its outputs were removed."""


class Document(msgspec.Struct, frozen=True):
    """A record of a small collection."""

    kind: str
    id: str
    data: bytes | None
    """`None`: the record is deleted, if there is one."""


class IdempotentCreate(msgspec.Struct, frozen=True):
    """A create request that carried an idempotency key."""

    task_id: str
    digest: str
    """Of the request; a different one under the same key is an error."""
    at: int
    """Milliseconds since the epoch (UTC)."""


class StoreDamaged(Exception):
    """The store can't be opened and was not changed. The message has the reason and the remedy."""


class ReadTooLong(Exception):
    """A read took longer than the store allows it, and was given up."""


class Store(Protocol):
    """Durable memory with one process and one writer.

    - A failed commit is final: `on_fatal` is called once, no pending or later future resolves, and
      the program must end. The next start rebuilds its state from the disk.
    - Reads see every change that listeners were called with before the read began.
    - A value that can't be stored fails its own call, immediately or through its future, and no
      other call.
    """

    async def open(
        self,
        *,
        recent_limit: int,
        recent_bytes: int = 1 << 40,
        on_fatal: Callable[[Exception], None],
    ) -> StoredState:
        """Create, migrate or recover the store. Raises StoreDamaged.

        `on_fatal` is called in the event loop, until `close` returns.
        """

    def subscribe(self, listener: Callable[[Sequence[Change]], None]) -> None:
        """Call `listener` with all changes that become durable from now on, in order, in the event
        loop. Listeners are called in the order in which they subscribed."""

    def encode(self, task: Task) -> str:
        """Return what `append` stores of a task. Raises UnicodeEncodeError if the task can't be
        stored: it holds text that is not valid Unicode."""

    def append(
        self,
        changes: Sequence[Change],
        *,
        followed: bool = False,
        documents: Sequence[Document] = (),
        encoded: Sequence[str] = (),
    ) -> asyncio.Future[None]:
        """Make the changes durable, in one commit with all others of this moment. `documents` are
        inserted, replaced or deleted in the same commit: all of it is durable, or nothing. There
        may be no changes.

        Calls keep their order. When the future resolves, the changes are on disk (fsync) and
        every listener has been called with them. `followed`: more changes come within milliseconds,
        and the commit may wait for them. `encoded`: results of `encode` for the tasks of the first
        changes; the others are encoded here.
        """

    async def get(self, task_id: str, owner: str | None = None) -> Task | None:
        """Return a task in any state, hidden ones included. `owner`: a task of any other user is
        not returned, and looked up like an id that no task has; `None` for any user's."""

    async def list_tasks(self, query: TaskQuery) -> TaskPage:
        """Return a page of visible tasks. A search delays no other read, and raises ReadTooLong."""

    async def sweep_tasks(self, sweep_id: str) -> list[SweepTask]:
        """Return the visible tasks of a sweep, in the order of their indexes. Those that were
        submitted again in it are left out."""

    async def outcomes(self, task_ids: Sequence[str]) -> dict[str, Status]:
        """Return the statuses of those tasks that have ended, hidden ones included."""

    async def changes_since(self, seq: int, limit: int) -> list[Change] | None:
        """Return at most `limit` changes with a number above `seq`, in order, and at least one if
        there is one; `None` if they are no longer kept."""

    async def ended_on(self, day: str) -> tuple[int, int]:
        """Count the tasks (completed, failed) that ended on `day` (YYYY-MM-DD in the store's time
        zone)."""

    async def kept_by_user(self) -> dict[str, Kept]:
        """Sum what the visible ended tasks of each user keep on the disk."""

    async def old_tasks(self, query: OldTasks) -> list[Task]:
        """Return the tasks that match, oldest creation first."""

    async def count_old_tasks(self, query: OldTasks) -> OldTasksTotal:
        """Sum over all tasks that match, regardless of `limit`."""

    async def find_idempotent(self, user: str, keys: Sequence[str]) -> dict[str, IdempotentCreate]:
        """Return the creates under these idempotency keys that have not expired, by key."""

    async def put_key(self, key: Key) -> None:
        """Insert or replace an API key by id. Durable on return."""

    async def list_keys(self) -> list[Key]: ...

    async def put_document(self, kind: str, document_id: str, data: bytes) -> None:
        """Insert or replace a record of a small collection by kind and id. Durable on return."""

    async def delete_document(self, kind: str, document_id: str) -> None:
        """Delete a record, if there is one. Durable on return."""

    async def list_documents(self, kind: str) -> list[bytes]:
        """Return all records of one kind, in the order of their ids."""

    async def get_document(self, kind: str, document_id: str) -> bytes | None:
        """Return one record; `None` if there is none."""

    def append_audit(self, entry: AuditEntry) -> asyncio.Future[None]:
        """Make an entry durable, in one commit with the changes appended just before it. Only the
        newest entries are kept."""

    async def list_audit(self, query: AuditQuery) -> list[AuditEntry]:
        """Return entries, newest first. Task creations are derived from the tasks, hidden ones
        included; they are not appended."""

    @property
    def usage(self) -> UsageStore:
        """The history of use."""

    @property
    def tracking(self) -> TrackingStore:
        """Runs and their metrics."""

    @property
    def history(self) -> HistoryStore:
        """The views of SQL queries."""

    def has_room(self) -> bool:
        """Return whether the disk has space for new work. Never blocks."""

    async def copy(self, folder: Path) -> None:
        """Write a store with the state at one moment of the call into an empty folder.

        Raises OSError, most often because the disk is full.
        """

    async def close(self) -> None:
        """Make everything that was appended durable, write a checkpoint, release the files."""
