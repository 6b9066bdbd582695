"""Jupyter services: the verbs of callers, and what the engine asks about a service's task.

A service is a task of another kind: the engine runs it, adopts it after a restart and ends it. The
rest is here: a name, a token, a workspace that stays, and whether Jupyter answers.
"""

import asyncio
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fetchml.auth.audit import Audit
from fetchml.auth.pinned_certificate import certificate_of
from fetchml.core import jupyter, permissions
from fetchml.core.audit import Action
from fetchml.core.jupyter import Service, ServiceStatus
from fetchml.core.model import ENDED, Principal, Status, Task, TaskSpec, User
from fetchml.core.requests import images as image_rules
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.errors import FieldViolation, Forbidden, Unavailable, ValidationFailed
from fetchml.files.folder_events import FolderEvents
from fetchml.jupyter.origin import JupyterOrigins
from fetchml.jupyter.records import ServiceRecords
from fetchml.jupyter.supervision import Supervision
from fetchml.jupyter.workspaces import TooManyWorkspaces, WorkspaceRefused, Workspaces
from fetchml.ports.jupyter import JupyterClient
from fetchml.ports.launcher import Mount, NamedFolder, Owner, PrepareError
from fetchml.ports.store import Store
from fetchml.ports.task_environment import DEFAULT_PATH, jupyter_variables
from fetchml.system.clock import Clock
from fetchml.views import JupyterState, JupyterView, VisitorPolicy


@dataclass(frozen=True, slots=True)
class JupyterOptions:
    images: Mapping[str, str]
    """Requested name → the image that runs."""
    idle_ms: int
    """Time without activity after which a service is stopped; 0: never."""
    private: bool
    has_containers: bool
    """`False` if Jupyter runs as a plain process."""
    public_url: str
    """The server's own URL for browsers, without a slash at the end."""
    command: tuple[str, ...] = ("jupyter-lab",)
    """Command of a plain process."""
    relay: Path | None = None
    """Path, on the nodes of a cluster, of the program that runs Jupyter there; `None` if it runs on
    this host."""
    relay_ports: str = "0-0"
    """Range of the ports on which that program listens; `0-0`: any."""
    domain: str | None = None
    """`*.HOST` if each service has its own host name; `None` if all share the server's."""
    port: int | None = None
    """Of a second listener for all services; `None` without one."""
    loopback: bool = False
    """Whether browsers that reach the server as localhost use `<id>.localhost`."""
    allow_images: tuple[str, ...] = image_rules.ANY
    """Patterns of the images that requests may name, besides the names in `images`."""

    shared: tuple[str, ...] = ("shared/*",)
    """Patterns of the workspaces in which every user may work."""

    def image_fault(self, image: str) -> str | None:
        """Return why requests may not name this image; `None` if they may."""
        if image in self.images:
            return None
        return image_rules.fault(image, self.allow_images)


class InstalledJupyter(NamedTuple):
    command: tuple[str, ...]
    """The program, with its full path, and its first arguments."""
    path: str
    """Its PATH: programs that are installed beside it come first."""


def find_jupyter(command: Sequence[str]) -> InstalledJupyter:
    """Look up `[jupyter] command`, each time: it may be installed while the server runs.

    Raises Unavailable.
    """
    beside = str(Path(sys.executable).parent)
    folders = [beside, os.environ.get("PATH", ""), DEFAULT_PATH]
    executable = shutil.which(command[0], path=os.pathsep.join(filter(None, folders)))
    if executable is None:
        raise Unavailable(
            f"JupyterLab is not installed on this host: there is no {command[0]!r} on the "
            "server's PATH. Install it ('pip install jupyterlab'), name it in [jupyter] command, "
            "or start the server with '--launcher docker', which takes it from an image"
        )
    # The link itself, unresolved: a virtual environment's programs lie beside it.
    program = Path.cwd() / executable
    path = os.pathsep.join([str(program.parent), DEFAULT_PATH])
    return InstalledJupyter((str(program), *command[1:]), path)


def jupyter_on_nodes(command: Sequence[str]) -> InstalledJupyter:
    """Read `[jupyter] command` as nodes do: whether they have the program shows when it starts."""
    beside = [str(Path(command[0]).parent)] if command[0].startswith("/") else []
    return InstalledJupyter(tuple(command), os.pathsep.join([*beside, DEFAULT_PATH]))


class ServiceViews:
    def __init__(
        self,
        records: ServiceRecords,
        tasks: ServiceTasks,
        supervision: Supervision,
        origins: JupyterOrigins,
        *,
        private: bool,
        isolated: bool,
    ) -> None:
        """`isolated`: whether services run in containers."""
        self._records = records
        self._tasks = tasks
        self._supervision = supervision
        self._origins = origins
        self._private = private
        self._isolated = isolated
        self._nobodys_token = secrets.token_urlsafe(32)

    def view(self, who: Principal, record: Service) -> JupyterView:
        """Return the view of a service for a caller that may see it. Only its owner and admins get
        the token."""
        task = self._records.task_of(record)
        supervisor = self._supervision.of(record.id)
        status, reason = self._status(record)
        if status is ServiceStatus.ERROR and reason is not None:
            reason = jupyter.with_last_line(reason, task, record)
        opens = self._records.is_live(record) and permissions.may_change(who, record)
        return JupyterView(
            id=record.id,
            user=record.user,
            name=record.name,
            status=status,
            url=self._origins.url(record.id),
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
            last_activity=supervisor.last_activity if supervisor is not None else None,
            stops_at=supervisor.stops_at if supervisor is not None else None,
        )

    def state(self, service_id: str) -> JupyterState | None:
        """Return the state for visitors without a key; `None` if there is no such service."""
        record = self._records.get(service_id)
        if record is None:
            return None
        status, why = self._status(record)
        supervisor = self._supervision.of(service_id)
        stops_at = supervisor.stops_at if supervisor is not None else None
        return JupyterState(status, why or "", stops_at)

    def visitor_policy(self, service_id: str) -> VisitorPolicy:
        """Return what the proxy checks visitors against: for an id that no service has, a token
        that nobody has."""
        record = self._records.get(service_id)
        if record is None:
            return VisitorPolicy("", self._nobodys_token, self._private)
        return VisitorPolicy(record.user, record.token, self._private)

    def _status(self, record: Service) -> tuple[ServiceStatus, str | None]:
        task = self._records.task_of(record)
        answers = self._supervision.link(record.id) is not None
        status = jupyter.status_of(task, answers=answers)
        waits = ""
        if status is ServiceStatus.STARTING and task.status is not Status.RUNNING:
            waits = self._tasks.waits_for(task)
        is_silent = task.status is Status.RUNNING and self._tasks.is_silent(task)
        return status, jupyter.reason_of(
            task, status, waits, isolated=self._isolated, is_silent=is_silent
        )


MAX_LIVE = 1_000

log = logging.getLogger(__name__)


class JupyterServices:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        tasks: ServiceTasks,
        workspaces: Workspaces,
        client: JupyterClient,
        watch_folders: FolderEvents,
        options: JupyterOptions,
        *,
        audit: Audit,
        token_key: Callable[[], bytes],
    ) -> None:
        """Make this before the engine starts. `token_key` raises OSError."""
        self.origins = JupyterOrigins(
            options.public_url, options.domain, port=options.port, loopback=options.loopback
        )
        self.private = options.private
        self.workspaces = workspaces
        self._tasks = tasks
        self._options = options
        self._audit = audit
        self._records = ServiceRecords(store, tasks, private=options.private, token_key=token_key)
        self.supervision = Supervision(
            self._records,
            tasks,
            client,
            watch_folders,
            idle_ms=options.idle_ms,
            clock=Clock(),
        )
        self._views = ServiceViews(
            self._records,
            tasks,
            self.supervision,
            self.origins,
            private=options.private,
            isolated=options.has_containers,
        )
        self._loaded = asyncio.Event()
        tasks.subscribe(self._task_changed)
        # For the proxy. A visitor who has the address of a service, and no key, may learn this.
        self.link = self.supervision.link
        self.note_use = self.supervision.note_use
        self.state = self._views.state
        self.visitor_policy = self._views.visitor_policy

    async def load(self) -> None:
        """Read all records from the open store."""
        await self._records.load()
        in_use = dict[str, str]()
        for each in self._records.live():
            in_use.setdefault(each.folder, each.user)
        await self.workspaces.load(in_use)
        self._loaded.set()

    async def start(self, who: Principal, request: Mapping[str, object]) -> JupyterView:
        """Start a service. It is durable on return, and responds some time later."""
        if not permissions.may_submit(who):
            raise Forbidden("Viewers cannot start Jupyter services")
        asked = self._read(request)
        if not (self._options.has_containers or self._options.relay):
            find_jupyter(self._options.command)
        self._tasks.require_room()
        if sum(1 for _ in self._records.live()) >= MAX_LIVE:
            raise Unavailable(f"Limit of {MAX_LIVE} live Jupyter services reached: stop some")
        record = await self._records.change(self._start, who, asked)
        return self._views.view(who, record)

    def get(self, who: Principal, service_id: str) -> JupyterView:
        return self._views.view(who, self._records.find(who, service_id))

    def list(self, who: Principal) -> list[JupyterView]:
        """Return all that `who` may see, newest first."""
        return [self._views.view(who, record) for record in self._records.seen_by(who)]

    async def stop(self, who: Principal, service_id: str) -> None:
        """Stop a service. The wish is durable on return; a service that is stopping or has ended
        stays as it is."""
        record = self._records.find(who, service_id)
        if not permissions.may_change(who, record):
            raise Forbidden("Only the service's owner or an admin may stop it")
        task = self._records.task_of(record)
        if task.status in ENDED or task.cancel is not None:
            return
        durable = self._tasks.cancel(service_id, User(who.user))
        await self._audit.done(who, Action.JUPYTER_STOP, service_id, record.name)
        await durable

    async def workspace_of(self, task: Task) -> tuple[Mount, Owner]:
        """Return the mount of a service's workspace, and the owner as whom its task runs.

        Raises PrepareError.
        """
        await self._loaded.wait()
        record = self._records.get(task.id)
        if record is None:
            raise PrepareError("the service's record was not found", permanent=True)
        try:
            folder, owner = await self.workspaces.make(record.folder, record.user)
        except WorkspaceRefused as error:
            raise PrepareError(f"its workspace {error}", permanent=True) from None
        except OSError as error:
            message = f"cannot prepare its workspace: {error.strerror or error}"
            raise PrepareError(message, permanent=False) from error
        return Mount(folder, jupyter.WORKSPACE, read_only=False), owner

    @property
    def folders(self) -> tuple[NamedFolder, ...]:
        """Folders of every service, besides its workspace."""
        relay = self._options.relay
        if relay is None:
            return ()
        return (NamedFolder(jupyter.RELAY_VARIABLE, relay, jupyter.RELAY, read_only=True),)

    def folder_of(self, task: Task) -> str | None:
        """Return the workspace of a service's task; `None` if the task is no service."""
        record = self._records.get(task.id)
        return None if record is None else record.folder

    def variables_of(self, task: Task) -> dict[str, str]:
        """Return the variables of a service's environment that are stored nowhere."""
        record = self._records.get(task.id)
        if record is None:
            return {}
        relay_key = None
        if self._options.relay is not None:
            relay_key = certificate_of(self._records.relay_secret(task)).both
        return jupyter_variables(record.token, relay_key)

    def _task_changed(self, task: Task) -> None:
        self._records.task_changed(task)
        self.supervision.task_changed(task)

    def _read(self, request: Mapping[str, object]) -> jupyter.ServiceRequest:
        """Raises ValidationFailed."""
        asked, violations = jupyter.read(request, self._tasks.capacity, self._tasks.limits)
        if asked is None:
            raise ValidationFailed([FieldViolation(*violation) for violation in violations])
        if fault := self._options.image_fault(asked.image):
            raise ValidationFailed([FieldViolation("image", fault)])
        return asked

    async def _start(self, who: Principal, asked: jupyter.ServiceRequest) -> Service:
        service_id, now = self._tasks.next_id()
        name = asked.name
        workspace = asked.workspace or jupyter.default_workspace(name, service_id)
        record = Service(
            id=service_id,
            user=who.user,
            name=name,
            image=asked.image,
            workspace=workspace,
            folder=jupyter.folder_of(workspace, who.user, private=self._options.private),
            token=self._records.token_of(service_id),
            created_at=now,
            cpu=asked.cpu,
            memory_gb=asked.memory_gb,
            gpu=asked.gpu,
        )
        spec = self._spec(record)
        self._tasks.require_quota(who.user, spec)
        await self._claim_workspace(record.folder, who)
        task = Task(service_id, who.user, spec, now, sender=who.sender, service=True)
        # The record first: a task without one could not be shown, or stopped.
        await self._records.add(record, task)
        durable = self._tasks.submit(task)
        await self._audit.done(who, Action.JUPYTER_START, service_id, name)
        await durable
        self.supervision.begin(record)
        return record

    def _spec(self, record: Service) -> TaskSpec:
        """Raises Unavailable."""
        ports = self._options.relay_ports
        if self._options.has_containers:
            image = self._options.images.get(record.image, record.image)
            spec = jupyter.task_spec(record, image)
            return spec if self._options.relay is None else jupyter.on_node(spec, ports)
        log.warning("%s", jupyter.UNISOLATED, extra={"service_id": record.id, "user": record.user})
        if self._options.relay is not None:
            on_nodes = jupyter_on_nodes(self._options.command)
            return jupyter.process_spec(record, *on_nodes, relay_ports=ports)
        return jupyter.process_spec(record, *find_jupyter(self._options.command))

    async def _claim_workspace(self, folder: str, who: Principal) -> None:
        try:
            await self.workspaces.claim(folder, who)
        except WorkspaceRefused as error:
            raise ValidationFailed([FieldViolation("workspace", str(error))]) from None
        except TooManyWorkspaces as error:
            raise Unavailable(str(error)) from None
        except OSError as error:
            log.exception("creating a workspace failed")
            raise Unavailable(f"Cannot create the workspace: {error.strerror or error}") from None
