"""The contracts between the engine and the outside: what an adapter must keep, in prose."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from fetchml.core.audit import Action, AuditEntry
from fetchml.core.gpus.health import GpuReading
from fetchml.core.gpus.model import Gpu
from fetchml.core.model import Change, Kept, Key, Status, Task
from fetchml.core.requests.jupyter import Activity
from fetchml.ports.jupyter_link import JupyterLink


class TaskQuery(msgspec.Struct, frozen=True):
    """Which tasks to list. Empty or `None`: no restriction."""

    states: tuple[Status, ...] = ()
    """As they are shown: see `Task.shown_status`."""
    user: str | None = None
    job_name_prefix: str | None = None
    experiment_id: str | None = None
    limit: int = 50
    offset: int = 0
    before: tuple[int, str] | None = None
    """Only tasks older than this `(created_at, id)`: how a page token goes on."""
    most_bytes: int | None = None
    """The page ends before the task with which it would take more, but not before its first."""
    brief: bool = False
    """Command, `args`, `env`, `metadata` and `dataset_specs` may be missing."""


class OldTasks(msgspec.Struct, frozen=True):
    """Which visible tasks that ended some time ago to find."""

    ended_before: int
    """Milliseconds since the epoch (UTC)."""
    user: str | None = None
    states: tuple[Status, ...] = ()
    """Of the two final ones; empty: both."""
    with_outputs: bool = False
    """Only those whose outputs take room."""
    after: tuple[int, str] | None = None
    """Only tasks younger than this `(created_at, id)`: how a search goes on."""
    limit: int = 100


class OldTasksFound(msgspec.Struct, frozen=True):
    """How many match, and what is kept of them."""

    tasks: int
    kept: Kept


class TaskPage(msgspec.Struct, frozen=True):
    tasks: list[Task]
    """Newest first: by `created_at`, then `id`, both descending."""
    total: int
    """All that match the query, whatever `limit`, `offset` and `before`."""
    cut: bool = False
    """It ends early because of `most_bytes`."""


class AuditQuery(msgspec.Struct, frozen=True):
    """Which entries of the audit to list. `None`: no restriction."""

    user: str | None = None
    action: Action | None = None
    target: str | None = None
    since: int | None = None
    """Milliseconds since the epoch (UTC)."""
    before: str | None = None
    """Only entries older than the one with this id, a UUIDv7."""
    limit: int = 50


class StoredState(msgspec.Struct):
    """What the store held when it was opened."""

    instance_id: str
    """Names this data directory for good (labels containers)."""
    last_seq: int
    last_created_at: int
    live: list[Task]
    """Every task that has not ended, oldest first."""
    recent: dict[Status, list[Task]]
    """The newest visible tasks of each final state, newest first: `recent_limit` of each, fewer
    where these take more than `recent_bytes` of memory."""
    counts: dict[tuple[str, Status], int]
    """Visible tasks in the whole store by (user, status)."""


class IdempotentCreate(msgspec.Struct, frozen=True):
    task_id: str
    digest: str
    at: int


class StoreDamaged(Exception):
    """The store can't be opened; the message says why and what to do. Nothing was changed."""


class Store(Protocol):
    """Durable memory. One process, one writer; used from one event loop.

    - `append` keeps the order of its calls. When its future resolves, the changes are on disk
      (fsync) and `on_durable` has been called with them, in order, in the event loop.
    - A failed commit is final: `on_fatal` is called once, no later future ever resolves, and the
      program must end; the next start rebuilds its state from what is on disk.
    - Reads see every change that `on_durable` announced before the read began.
    - A value that can't be stored fails its own call, at once or by its future, and no other.
    """

    async def open(
        self,
        *,
        recent_limit: int,
        recent_bytes: int = 1 << 40,
        on_durable: Callable[[Sequence[Change]], None],
        on_fatal: Callable[[Exception], None],
    ) -> StoredState:
        """Open or create, migrate, recover. Raises StoreDamaged."""

    def append(self, changes: Sequence[Change], *, followed: bool = False) -> asyncio.Future[None]:
        """Make changes durable, in one commit with all others of this moment. `followed`: others
        come within milliseconds, and it is good to have them in the same."""

    async def get(self, task_id: str) -> Task | None:
        """A task in any state, hidden ones included."""

    async def list_tasks(self, query: TaskQuery) -> TaskPage:
        """Visible tasks only."""

    async def changes_since(self, seq: int, limit: int) -> list[Change] | None:
        """Changes with a number above `seq`, in order, `limit` at most, and at least one if there
        is one; None: no longer kept."""

    async def ended_on(self, day: str) -> tuple[int, int]:
        """Tasks (completed, failed) that ended on `day` (YYYY-MM-DD in the store's time zone)."""

    async def kept_by_user(self) -> dict[str, Kept]:
        """What the visible tasks that have ended have on the disk, all of a user together."""

    async def old_tasks(self, query: OldTasks) -> list[Task]:
        """Oldest first, by creation."""

    async def count_old_tasks(self, query: OldTasks) -> OldTasksFound:
        """Of all that match, whatever `limit`."""

    async def find_idempotent(self, user: str, keys: Sequence[str]) -> dict[str, IdempotentCreate]:
        """By key, the creates that were made with these keys and are kept still."""

    async def put_key(self, key: Key) -> None:
        """Insert or replace by id; durable on return."""

    async def list_keys(self) -> list[Key]: ...

    async def put_document(self, kind: str, document_id: str, data: bytes) -> None:
        """Insert or replace by kind and id; durable on return. For records that are few."""

    async def delete_document(self, kind: str, document_id: str) -> None:
        """Durable on return; nothing happens when there is none."""

    async def list_documents(self, kind: str) -> list[bytes]:
        """In the order of their ids."""

    def append_audit(self, entry: AuditEntry) -> asyncio.Future[None]:
        """Done when it is durable: in one commit with the changes that were handed in just before
        it. Only the newest entries are kept."""

    async def list_audit(self, query: AuditQuery) -> list[AuditEntry]:
        """Newest first. Tasks tell of their creation themselves, also hidden ones: nothing is
        appended for it."""

    def has_room(self) -> bool:
        """Whether the disk is far enough from full to take new work. Never blocks."""

    async def copy(self, folder: Path) -> None:
        """Put a store as this one is at one moment of the call into an empty folder. Raises
        OSError, for want of room above all."""

    async def close(self) -> None:
        """Everything appended is durable, checkpointed, closed."""


Owner = tuple[int, int] | None
"""uid and gid that a task's files belong to; None: a user whom only its image knows."""


class Mount(msgspec.Struct, frozen=True):
    source: Path
    target: str
    read_only: bool


class LaunchSpec(msgspec.Struct, frozen=True):
    """One attempt, with all that a launcher needs to start it."""

    task_id: str
    attempt: int
    job_name: str
    folder: Path
    """The attempt's folder: `run/`, `workspace/`, `outputs/` (see shim/README.md)."""
    image: str
    argv: tuple[str, ...]
    env: dict[str, str]
    """All of the task's environment but for the paths of its three places."""
    owner: Owner | Literal["launcher"] = "launcher"
    """Whom the task's files belong to, and as whom it runs where the launcher can choose;
    "launcher": the launcher's own `owner`."""
    datasets: tuple[Mount, ...] = ()
    """One with the target of a place of the attempt's own, such as /workspace, is there instead."""
    cpu: int = 0
    memory_gb: int = 0
    gpu_ids: tuple[str, ...] = ()
    timeout_ms: int = 0
    grace_ms: int = 10_000
    log_segment_bytes: int = 32 * 1024 * 1024


class AttemptExit(msgspec.Struct, frozen=True):
    """No process of the attempt is left. What the launcher knows of the end beside the shim."""

    out_of_memory: bool = False
    lost: str | None = None
    """Why, if the launcher knows that something other than the task ended it."""
    no_room: bool = False
    """The disk was full when the command was to start, so nothing was claimed and nothing ran."""


class PrepareError(Exception):
    """The attempt can't be made ready; the message is for the user. No process was started."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent
        """A second try would fail the same way (no such image)."""


class Launcher(Protocol):
    """Runs attempts. Every method may be called again after a crash of the server, at any point.

    Order for one attempt: `prepare` (the shim then waits at its gate) → the engine opens the gate
    in the attempt's folder → `wait` → `remove`. `stop` and `kill` at any time in between.

    - `prepare` is idempotent: if the attempt is there already, it is left as it is. It makes the
      folder's own files ready (owner, gate) and reports progress in short sentences. It never
      opens the gate, never starts an exited container again. Raises PrepareError. While the
      backend is away it waits for it, saying so as progress. Cancelling it leaves nothing that
      `remove` does not clean.
    - `wait` returns when no process of the attempt is left, also when there never was one, also
      for an attempt that an earlier server prepared. It outlives restarts of the backend.
    - `stop` sends SIGTERM to the shim (which forwards it and kills after the grace). `kill` ends
      all processes at once. Neither fails when there is nothing (left) to end.
    - `remove` deletes all that the launcher made for the attempt outside its folder; it waits for
      the backend. Not before `wait` has returned.
    - `clean` removes what was left by attempts (task id, attempt) of this server not in `live`.
      From then on `owner_of` knows the processes of those that are.
    - `on_available` tells (in the event loop) whether the backend takes work, first from `open`.
    - `owner_of` tells which task a process of this machine belongs to; None: to none, or it is
      gone. It never waits for the backend, and may be called in any thread.
    """

    name: str
    owner: Owner

    async def open(self, instance_id: str, on_available: Callable[[bool, str], None]) -> None: ...

    async def prepare(self, run: LaunchSpec, progress: Callable[[str], None]) -> None: ...

    async def wait(self, run: LaunchSpec) -> AttemptExit: ...

    async def stop(self, run: LaunchSpec) -> None: ...

    async def kill(self, run: LaunchSpec) -> None: ...

    async def remove(self, run: LaunchSpec) -> None: ...

    async def clean(self, live: frozenset[tuple[str, int]]) -> None: ...

    def owner_of(self, pid: int) -> str | None: ...

    async def close(self) -> None:
        """Let go; whatever runs goes on."""


OwnerOf = Callable[[int], str | None]
"""The id of the live task that a process belongs to; None: of none."""


class GpuState(msgspec.Struct, frozen=True):
    """All that is known of the machine's GPUs at one moment."""

    readings: tuple[GpuReading, ...] = ()
    """In the order of their places. What was there once and is no more stays, as lost."""
    gpus: tuple[Gpu, ...] = ()
    """What follows from the readings, in the same order."""
    driver: str | None = None
    """The driver's version; None: it can't be asked."""
    problem: str | None = None
    """Why it can't be asked, for people."""
    notes: tuple[str, ...] = ()
    """What else the owner should know."""


class GpuInventory(Protocol):
    """The GPUs of this machine. None of it fails, none blocks the event loop: what can't be known
    is told in the values.

    - `on_change` is called in the event loop: from `open`, then whenever `gpus`, `driver`,
      `problem` or `notes` are others than before. `state` also has what changes all the time.
    - It looks every few seconds, at once when the driver tells of an error, and when asked.
    - `check` looks at GPUs that a task has left, where only the tasks `holders` may go on. It gives
      for each why it can't be given out again, or None: its processes are gone and its memory is
      back. It answers in milliseconds when all is well; else it first gives them a second.
    - `forgive` is the owner's word that a GPU is well: the errors seen so far no longer count.
    """

    @property
    def state(self) -> GpuState: ...

    async def open(self, on_change: Callable[[GpuState], None]) -> None: ...

    async def refresh(self) -> GpuState:
        """A look that began after this call."""

    async def check(
        self, uuids: Sequence[str], holders: Collection[str] = ()
    ) -> Mapping[str, str | None]: ...

    def forgive(self, uuid: str) -> None: ...

    async def close(self) -> None: ...


class Version(msgspec.Struct, frozen=True):
    """What an origin says to tell one content of a URL from the next."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A content on its way."""

    offset: int
    """Where in the content `chunks` begin."""
    length: int | None
    """Of the whole content, in bytes, as its origin says; None: it does not say."""
    version: Version | None
    """None: nothing tells it from another content."""
    chunks: AsyncIterator[bytes]
    """Raises Interrupted."""


class Interrupted(Exception):
    """It broke off, or did not begin; asking again may help. The message is for the user."""

    def __init__(self, message: str, *, anew: bool = False) -> None:
        super().__init__(message)
        self.anew = anew
        """Going on there would not help: ask from the start."""


class Origin(Protocol):
    """Where the datasets of some schemes come from. Any number are read at the same time.

    `read` may return before the first byte, and gives up when none comes for some time. Raises
    Interrupted where a second try may help, else PrepareError.

    - Offset 0: from the start. With a `version`: None if the content still is that one.
    - Another offset: on from there if the content still is `version`, else from the start.
    """

    def read(
        self, url: str, *, offset: int = 0, version: Version | None = None
    ) -> AbstractAsyncContextManager[Reading | None]: ...


class JupyterSilent(Exception):
    """Jupyter did not answer, or not as Jupyter does."""


class JupyterClient(Protocol):
    """Asks one running Jupyter, which its user may have made into anything: every answer is
    bounded in time and size."""

    async def answers(self, link: JupyterLink) -> bool:
        """Whether it serves requests that show its token."""

    async def activity(self, link: JupyterLink) -> Activity:
        """Raises JupyterSilent."""
