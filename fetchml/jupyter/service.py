"""Jupyter services: started, shown, stopped, stopped when idle, and forgotten some time later.

A service is a task of another kind: the engine runs it, finds it again after a restart and ends
it. Here is what a task does not have: a name, a token, a workspace that stays, whether it answers.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.model import ENDED, Principal, Server, Status, Task, TaskSpec, User
from fetchml.core.requests import images as image_rules
from fetchml.core.requests import jupyter
from fetchml.core.requests.jupyter import Service, ServiceStatus
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.errors import FieldViolation, Forbidden, NotFound, Unavailable, ValidationFailed
from fetchml.files.inotify import FolderWatch
from fetchml.jupyter.command import find_jupyter
from fetchml.jupyter.origin import JupyterOrigins
from fetchml.jupyter.supervisor import ServiceSupervisor
from fetchml.jupyter.tokens import token_of
from fetchml.jupyter.workspaces import TooManyWorkspaces, WorkspaceRefused, Workspaces
from fetchml.ports.jupyter import JupyterClient, JupyterLink
from fetchml.ports.launcher import Mount, Owner, PrepareError
from fetchml.ports.store import Store
from fetchml.system.clock import Clock
from fetchml.views import JupyterDoor, JupyterState, JupyterView

KIND = "service"
MAX_LIVE = 1_000
MAX_ENDED = 1_000
"""They are all in memory, and in one reply that lists them."""
KEPT_MS = 7 * 86_400_000
"""For how long one that has ended is shown."""
PRUNE_SECONDS = 3600
AGAIN_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

T = TypeVar("T")

_decode = msgspec.json.Decoder(Service).decode

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JupyterOptions:
    images: Mapping[str, str]
    """What is really run, by the name that is asked for."""
    idle_ms: int
    """One in which nothing happens is stopped after this; 0: never."""
    private: bool
    has_containers: bool
    """Otherwise Jupyter runs as a plain process."""
    command: tuple[str, ...] = ("jupyter-lab",)
    """What starts it then."""
    domain: str | None = None
    """`*.HOST`: each service has a name of its own there. `None`: all share the server's."""
    allow_images: tuple[str, ...] = image_rules.ANY
    """Patterns (core.images). What the owner has named in `images` is always allowed."""


class JupyterServices:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        tasks: ServiceTasks,
        workspaces: Workspaces,
        client: JupyterClient,
        watch_folders: FolderWatch,
        settings: JupyterOptions,
        *,
        audit: Audit,
        token_key: Callable[[], bytes],
    ) -> None:
        """To be made before the engine starts, which tells it of changes. `token_key`: called once
        the data directory is locked; raises OSError."""
        self.origins = JupyterOrigins(settings.domain)
        self._store = store
        self._tasks = tasks
        self.workspaces = workspaces
        self._client = client
        self._watch_folders = watch_folders
        self._settings = settings
        self._audit = audit
        self._load_token_key = token_key
        self._token_key = b""
        self._clock = Clock()
        self._records: dict[str, Service] = {}
        """By id, oldest first."""
        self._task_of: dict[str, Task] = {}
        """The newest version of each record's task."""
        self._watches: dict[str, ServiceSupervisor] = {}
        self._loaded = asyncio.Event()
        self._writing = asyncio.Lock()
        """Held from reading a record to storing it."""
        self._changes: set[asyncio.Task[object]] = set()
        """To be done to their end."""
        self._driving: set[asyncio.Task[None]] = set()
        tasks.changed = self._task_changed

    async def load(self) -> None:
        """Read what is known from the store, which is open, and go on with what lives."""
        self._token_key = await asyncio.to_thread(self._load_token_key)
        for stored in map(_decode, await self._store.list_documents(KIND)):
            record = replace(stored, token=stored.token or token_of(self._token_key, stored.id))
            task = await self._tasks.find(record.id)
            if task is None:  # The server ended before the task was durable.
                await self._store.delete_document(KIND, record.id)
                continue
            self._task_of.setdefault(record.id, task)
            self._records[record.id] = record
        for task in self._tasks.live():
            if task.id not in self._records:
                log.error("a service's record is gone", extra={"service_id": task.id})
                await self._tasks.cancel(task.id, Server("the server, which has lost its record"))
        live = frozenset(r.folder for r in self._records.values() if self._is_live(r.id))
        await self.workspaces.load(live)
        self._loaded.set()

    @contextlib.asynccontextmanager
    async def supervised(self) -> AsyncIterator[None]:
        """While inside, live ones are watched over, and what ended long ago is forgotten."""
        for record in list(self._records.values()):
            if self._is_live(record.id) or record.last_words is None:
                self._watch_over(record)
        pruning = asyncio.create_task(self._prune_at_times())
        try:
            yield
        finally:
            for task in (pruning, *self._driving):
                task.cancel()
            everything = (pruning, *self._driving, *self._changes)
            await asyncio.gather(*everything, return_exceptions=True)

    async def start(self, who: Principal, request: Mapping[str, object]) -> JupyterView:
        """Durable on return; it answers some time later."""
        if not permissions.may_submit(who):
            raise Forbidden("A viewer's key can't start Jupyter services")
        violations = [
            FieldViolation(*violation)
            for violation in jupyter.violations(request, self._tasks.capacity, self._tasks.limits)
        ]
        image = request.get("image", jupyter.DEFAULT_IMAGE)
        if isinstance(image, str) and (fault := self._image_fault(image)):
            violations.append(FieldViolation("image", fault))
        if violations:
            raise ValidationFailed(violations)
        if not self._settings.has_containers:
            find_jupyter(self._settings.command)
        self._tasks.require_room()
        if sum(map(self._is_live, self._records)) >= MAX_LIVE:
            raise Unavailable(f"{MAX_LIVE} Jupyter services live, as many as may: stop some")
        fields = {name: request[name] for name in jupyter.KNOWN_FIELDS & request.keys()}
        fields |= self._tasks.limits.filled(fields)
        return self._shown(who, await self._in_one(self._start(who, fields)))

    def get(self, who: Principal, service_id: str) -> JupyterView:
        return self._shown(who, self._find(who, service_id))

    def list(self, who: Principal) -> list[JupyterView]:
        """All that `who` may see, newest first."""
        return [
            self._shown(who, record)
            for record in reversed(self._records.values())
            if permissions.may_see(who, record, private=self._settings.private)
        ]

    async def stop(self, who: Principal, service_id: str) -> None:
        """The wish is durable on return; one that stops already or has ended stays as it is."""
        record = self._find(who, service_id)
        if not permissions.may_end(who, record):
            raise Forbidden("Only the service's owner or an admin may stop it")
        task = self._task_of[service_id]
        if task.status in ENDED or task.cancel is not None:
            return
        durable = self._tasks.cancel(service_id, User(who.user))
        await self._audit.done(who, Action.JUPYTER_STOP, service_id, record.name)
        await durable

    # What the proxy asks. Who holds the address of a service, and no key, may learn this much.

    def link(self, service_id: str) -> JupyterLink | None:
        """The way to it; None: there is no such service, or it does not answer (any more)."""
        watch = self._watches.get(service_id)
        return watch.link if watch is not None else None

    def note_use(self, service_id: str) -> None:
        """Somebody has just changed something in it."""
        if service_id in self._watches:
            self._watches[service_id].note_use()

    def state(self, service_id: str) -> JupyterState | None:
        """None: there is no such service."""
        record = self._records.get(service_id)
        if record is None:
            return None
        status, why = self._status(record)
        watch = self._watches.get(service_id)
        return JupyterState(status, why or "", watch.stops_at if watch is not None else None)

    def door(self, service_id: str) -> JupyterDoor | None:
        """None: there is no such service."""
        record = self._records.get(service_id)
        if record is None:
            return None
        return JupyterDoor(record.user, record.token, self._settings.private)

    # What the engine asks.

    async def workspace_of(self, task: Task) -> tuple[Mount, Owner]:
        """To be mounted for a service's task, and as whom it works there. Raises PrepareError."""
        await self._loaded.wait()
        record = self._records.get(task.id)
        if record is None:
            raise PrepareError("the service's record is gone", permanent=True)
        try:
            folder, owner = await self.workspaces.make(record.folder, record.user)
        except WorkspaceRefused as error:
            raise PrepareError(f"its workspace {error}", permanent=True) from None
        except OSError as error:
            message = f"its workspace can't be made ready: {error.strerror or error}"
            raise PrepareError(message, permanent=False) from error
        return Mount(folder, jupyter.WORKSPACE, read_only=False), owner

    def folder_of(self, task: Task) -> str | None:
        """A service's workspace; None: it is none of these tasks."""
        record = self._records.get(task.id)
        return None if record is None else record.folder

    def secrets_of(self, task: Task) -> dict[str, str]:
        """The environment of a service's container that is stored nowhere."""
        record = self._records.get(task.id)
        return {} if record is None else {"JUPYTER_TOKEN": record.token}

    async def _save(self, record: Service) -> None:
        """Durable on return. The token is left out: a copy of the database opens no service."""
        if record.token == token_of(self._token_key, record.id):
            record = replace(record, token="")
        await self._store.put_document(KIND, record.id, msgspec.json.encode(record))

    def _task_changed(self, task: Task) -> None:
        if task.id in self._records or not self._loaded.is_set():
            self._task_of[task.id] = task
        if task.id in self._watches:
            self._watches[task.id].task_changed(task)

    async def _start(self, who: Principal, fields: dict[str, object]) -> Service:
        async with self._writing:
            service_id, now = self._tasks.next_id()
            name = str(fields.pop("name"))
            workspace = str(fields.pop("workspace", jupyter.default_workspace(name, service_id)))
            record = Service(
                id=service_id,
                user=who.user,
                name=name,
                image=str(fields.pop("image", jupyter.DEFAULT_IMAGE)),
                workspace=workspace,
                folder=jupyter.folder_of(workspace, who.user, private=self._settings.private),
                token=token_of(self._token_key, service_id),
                created_at=now,
                **fields,  # type: ignore[arg-type]  # cpu, memory_gb, gpu: checked
            )
            spec = self._spec(record)
            self._tasks.require_quota(who.user, spec)
            await self._claim(record.folder, who.user)
            # Its document first: a task without one could not be shown, or stopped.
            await self._save(record)
            task = Task(service_id, who.user, spec, now, sender=who.sender, service=True)
            self._records[service_id] = record
            self._task_of[service_id] = task
            durable = self._tasks.submit(task)
            await self._audit.done(who, Action.JUPYTER_START, service_id, name)
            await durable
            self._watch_over(record)
        return record

    def _spec(self, record: Service) -> TaskSpec:
        """Raises Unavailable."""
        if self._settings.has_containers:
            return jupyter.task_spec(record, self._settings.images.get(record.image, record.image))
        log.warning("%s", jupyter.UNISOLATED, extra={"service_id": record.id, "user": record.user})
        return jupyter.process_spec(record, *find_jupyter(self._settings.command))

    def _image_fault(self, image: str) -> str | None:
        """Why nobody may ask for this image; None: everybody may."""
        if image in self._settings.images:
            return None
        return image_rules.fault(image, self._settings.allow_images)

    async def _claim(self, folder: str, user: str) -> None:
        try:
            await self.workspaces.claim(folder, user)
        except WorkspaceRefused as error:
            raise ValidationFailed([FieldViolation("workspace", str(error))]) from None
        except TooManyWorkspaces as error:
            raise Unavailable(str(error)) from None
        except OSError as error:
            log.exception("a workspace can't be made")
            raise Unavailable(f"The workspace can't be made: {error.strerror or error}") from None

    def _find(self, who: Principal, service_id: str) -> Service:
        record = self._records.get(service_id)
        if record is None or not permissions.may_see(who, record, private=self._settings.private):
            raise NotFound(f"There is no Jupyter service {service_id[:64]!r}")
        return record

    def _is_live(self, service_id: str) -> bool:
        return self._task_of[service_id].status not in ENDED

    def _status(self, record: Service) -> tuple[ServiceStatus, str | None]:
        task = self._task_of[record.id]
        watch = self._watches.get(record.id)
        status = jupyter.status_of(task, answers=watch is not None and watch.answers)
        waits = ""
        if status is ServiceStatus.STARTING and task.status is not Status.RUNNING:
            waits = self._tasks.waits_for(task)
        isolated = self._settings.has_containers
        return status, jupyter.reason_of(task, status, waits, isolated=isolated)

    def _shown(self, who: Principal, record: Service) -> JupyterView:
        task = self._task_of[record.id]
        watch = self._watches.get(record.id)
        status, reason = self._status(record)
        if status is ServiceStatus.ERROR and reason is not None:
            reason = jupyter.with_last_words(reason, task, record)
        opens = self._is_live(record.id) and permissions.may_end(who, record)
        return JupyterView(
            id=record.id,
            user=record.user,
            name=record.name,
            status=status,
            url=self.origins.url(record.id),
            created_at=record.created_at,
            image=record.image,
            workspace=record.workspace,
            token=record.token if opens else None,
            cpu=record.cpu,
            memory_gb=record.memory_gb,
            gpu=record.gpu,
            reason=reason,
            started_at=task.started_at,
            ended_at=task.ended_at,
            last_activity=watch.last_activity if watch is not None else None,
            stops_at=watch.stops_at if watch is not None else None,
        )

    def _watch_over(self, record: Service) -> None:
        """Until it has ended, and what it said last is known."""

        async def stop(reason: str) -> None:
            await self._tasks.cancel(record.id, Server(reason))

        self._watches[record.id] = watch = ServiceSupervisor(
            record,
            self._task_of[record.id],
            idle_ms=self._settings.idle_ms,
            client=self._client,
            watch_folders=self._watch_folders,
            attempt=self._tasks.attempt,
            clock=self._clock,
            stop=stop,
        )
        driving = asyncio.create_task(self._drive(record, watch))
        self._driving.add(driving)
        driving.add_done_callback(self._driving.discard)

    async def _drive(self, record: Service, watch: ServiceSupervisor) -> None:
        pause = AGAIN_SECONDS
        while True:
            try:
                await watch.go()
                await self._keep_last_words(record)
                break
            except Exception:
                log.exception("a service is watched anew", extra={"service_id": record.id})
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        del self._watches[record.id]
        if len(self._records) > MAX_ENDED:
            await self.prune()

    async def _keep_last_words(self, record: Service) -> None:
        said = jupyter.last_words(
            await self._tasks.log_tail(self._task_of[record.id]), record.token
        )
        async with self._writing:
            if record.id in self._records:
                record = self._records[record.id] = replace(record, last_words=said)
                await self._save(record)

    async def _prune_at_times(self) -> None:
        while True:
            try:
                await self.prune()
            except Exception:
                log.exception("old services can't be forgotten")
            await asyncio.sleep(PRUNE_SECONDS)

    async def prune(self) -> None:
        """Forget what ended long ago, and the oldest where there are too many. Their workspaces
        stay."""
        ended = [
            each for each in self._records if not self._is_live(each) and each not in self._watches
        ]
        before = self._clock() - KEPT_MS
        surplus = max(0, len(ended) - MAX_ENDED)
        for number, service_id in enumerate(ended):
            if number < surplus or (self._task_of[service_id].ended_at or 0) < before:
                await self._in_one(self._forget(service_id))

    async def _forget(self, service_id: str) -> None:
        async with self._writing:
            if service_id not in self._records:
                return
            # The files first: with the record they are found again, should the server end here.
            await self._tasks.remove_files(service_id)
            await self._store.delete_document(KIND, service_id)
            del self._records[service_id]
            del self._task_of[service_id]

    async def _in_one(self, change: Coroutine[None, None, T]) -> T:
        """To its end, also when nobody waits for it any more."""
        changing = asyncio.create_task(change)
        self._changes.add(changing)
        changing.add_done_callback(self._changes.discard)
        return await asyncio.shield(changing)
