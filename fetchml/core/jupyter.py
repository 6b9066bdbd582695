"""Jupyter services: the rules of requests, their tasks, their status, and when an idle one stops.

A service is a task of another kind (`Task.service`) with a record beside it for what a task does
not have: name, workspace, token.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from fetchml.core.model import (
    ENDED,
    FailureReason,
    Resources,
    Server,
    Status,
    Task,
    TaskSpec,
    User,
    Value,
)
from fetchml.core.requests import checks
from fetchml.core.requests.checks import Amount, Rule, Violation, also, line, text_fault
from fetchml.core.requests.submission import Image, TaskLimits, resource_violations
from fetchml.core.snapshots import parents, path_fault

DEFAULT_IMAGE = "jupyter/pytorch:latest"
MAX_NAME_CHARACTERS = 128
PRIORITY = 10
"""Priority of a service's task: a person waits for it."""
WORKSPACE = "/workspace"
SOCKET = "/.fetchml/run/jupyter.sock"
"""Path of Jupyter's socket, in the attempt's run folder: it needs no network."""


class Service(Value, frozen=True):
    """A Jupyter service's record. Stored as JSON; a field added later must have a default."""

    id: str
    """Also the id of its task."""
    user: str
    name: str
    image: str
    """As requested."""
    workspace: str
    """As its user named it."""
    folder: str
    """Path of the workspace's folder, below the root of all workspaces."""
    token: str
    """Stored empty, since it is derived from the server's key. Releases up to 1.8 stored it."""
    created_at: int
    cpu: int | None = None
    memory_gb: int | None = None
    gpu: int | None = None
    last_words: str | None = None
    """The last line of its log after its end; empty if there is none to show, `None` if the log was
    not read yet."""


class Activity(Value, frozen=True):
    """The activity that Jupyter reports of its kernels and terminals."""

    busy: bool
    """Whether a kernel is executing."""
    last: int | None = None
    """Time of the last activity in milliseconds since the epoch; `None` if there is no kernel or
    terminal."""


def _workspace(path: str) -> str | None:
    if wrong := text_fault(path):
        return wrong
    if not path.isprintable():
        return "must be printable"
    wrong = path_fault(path)
    return None if wrong is None else f"must be a path below the server's own folder: it {wrong}"


Workspace = Annotated[str, Meta(min_length=1, max_length=4096, extra=also(_workspace))]


class ServiceRequest(msgspec.Struct, frozen=True):
    """A request for a service. `None`: not in the request."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS, extra=also(line))]
    workspace: Workspace | None = None
    image: Image = DEFAULT_IMAGE
    cpu: Amount | None = None
    memory_gb: Amount | None = None
    gpu: Amount | None = None


KNOWN_FIELDS = frozenset(ServiceRequest.__struct_fields__)
"""Known request properties. Others are ignored and named in the reply's header (reading 12)."""


def read(
    request: Mapping[str, object], capacity: Resources, limits: TaskLimits
) -> tuple[ServiceRequest | None, list[Violation]]:
    """Return a request for a service with the default cores and memory, or its violations."""
    asked, violations = checks.read(request, ServiceRequest)
    if asked is None:
        return None, violations
    if violations := resource_violations(asked, capacity, limits):
        return None, violations
    cpu, memory_gb = limits.cpu_of(asked.cpu), limits.memory_of(asked.memory_gb)
    return replace(asked, cpu=cpu, memory_gb=memory_gb), []


def default_workspace(name: str, service_id: str) -> str:
    """The default workspace: the service's name, if it is a valid path."""
    return service_id if "/" in name or Rule(Workspace).fault(name) is not None else name


def folder_of(workspace: str, user: str, *, private: bool) -> str:
    """Path of a workspace below the root. On a private server each user has a folder there."""
    return f"{user}/{workspace}" if private else workspace


def is_shared(folder: str, patterns: Sequence[str]) -> bool:
    """Return whether every user may work in a workspace: its path matches one of the patterns."""
    return any(fnmatchcase(folder, pattern) for pattern in patterns)


def folder_fault(folder: str, workspaces: Iterable[str]) -> str | None:
    """Return why a folder can't be a workspace beside the `workspaces` ones; `None` if it can.

    No workspace may lie inside another: a container may replace any folder in its workspace with a
    link at any moment.
    """
    wrong = path_fault(folder)
    if wrong is not None:
        return f"it {wrong}"
    above = frozenset(parents(folder))
    if any(other in above or other.startswith(f"{folder}/") for other in workspaces):
        return "it lies in another workspace, or another lies in it"
    return None


def login_cookie(service_id: str) -> str:
    """Name of a service's login cookie. Each service has its own: browsers send the cookies of a
    host to all of its services."""
    return f"jupyter-{service_id}"


def task_spec(record: Service, real_image: str) -> TaskSpec:
    """The specification of a service's task in a container."""
    return TaskSpec(
        job_name="jupyter",
        image=real_image,
        # In an image whose user is root it runs as root, if the server's settings allow it.
        command=("jupyter", "lab", *_flags(record, SOCKET, WORKSPACE)),
        priority=PRIORITY,
        cpu=record.cpu,
        memory_gb=record.memory_gb,
        gpu=record.gpu,
        env={
            "HOME": WORKSPACE,
            # Signs its cookies: two services with one workspace must not share it.
            "JUPYTER_RUNTIME_DIR": "/tmp/jupyter-runtime",  # noqa: S108 - in the container
        },
    )


_IN_ITS_FOLDERS = """\
cd "$FETCHML_DATASETS/workspace" && HOME=$(pwd -P) && cd "$HOME" || exit
exec 9<"$FETCHML_WORKSPACE/../run" || exit
export HOME JUPYTER_RUNTIME_DIR="$FETCHML_WORKSPACE/runtime"
exec "$@" --ServerApp.root_dir="$HOME"
"""
"""A script for `sh -c`, since the attempt's folders are only known when it runs. The workspace is
linked as a dataset is. The socket is addressed through an open folder: its real path may exceed the
107 bytes that a socket's path may have."""
_BEHIND_ITS_RELAY = """\
[ -e /proc/self/fd/9 ] || exec 9</.fetchml/run || exit
exec python3 -IS "$FETCHML_JUPYTER_RELAY" jupyter "$@"
"""
"""A script for `sh -c`: the relay takes the open run folder from the script before, or opens it in
a container."""
RELAY_VARIABLE = "FETCHML_JUPYTER_RELAY"
"""Names the program that runs Jupyter on a node of a cluster, for a Python of the node."""
RELAY = "/.fetchml/jupyter_relay.py"
"""Its path in a container."""


def process_spec(
    record: Service, command: Sequence[str], path: str, *, relay_ports: str | None = None
) -> TaskSpec:
    """The specification of a service's task as a plain process. `command`: that of JupyterLab;
    `path`: its PATH. `relay_ports`: the range of ports for its relay on a node of a cluster;
    `None` on this host."""
    flags = _flags(record, "/proc/self/fd/9/jupyter.sock", None)
    behind = _behind(relay_ports) if relay_ports is not None else ()
    return replace(
        task_spec(record, record.image),
        command=("/bin/sh", "-c", _IN_ITS_FOLDERS, "jupyter", *behind, *command, *flags),
        env={"PATH": path},
    )


def on_node(spec: TaskSpec, relay_ports: str) -> TaskSpec:
    """Return the specification in a container with that container on a node, behind its relay.
    `relay_ports`: see `process_spec`."""
    return replace(spec, command=(*_behind(relay_ports), *(spec.command or ())))


def _behind(relay_ports: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", _BEHIND_ITS_RELAY, "jupyter", relay_ports)


def _flags(record: Service, sock: str, root_dir: str | None) -> list[str]:
    settings = {
        "sock": sock,
        "sock_mode": "0600",
        "base_url": f"/jupyter/{record.id}/",
        "root_dir": root_dir,
        "allow_remote_access": "True",
        "terminals_enabled": "True",
        # Shutting down from the page returns an error; use 'fetchml jupyter stop'.
        "quit_button": "False",
    }
    flags = [f"--ServerApp.{name}={value}" for name, value in settings.items() if value is not None]
    cookie = f"--IdentityProvider.cookie_name={login_cookie(record.id)}"
    return ["--no-browser", "--allow-root", *flags, cookie]


UNISOLATED = "It runs as a plain process of the server's own user, which nothing isolates"
SILENT = "Its node is silent. The service may still run there: stop it if it no longer responds"
MAX_LAST_WORDS = 200
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ServiceStatus(StrEnum):
    """The contract's states of a Jupyter service. The last two are final."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"


def status_of(task: Task, *, answers: bool) -> ServiceStatus:
    """The status that clients see. `answers`: whether Jupyter has responded since its task
    started to run."""
    if task.status in ENDED:
        return ServiceStatus.ERROR if task.cancel is None else ServiceStatus.STOPPED
    if task.cancel is not None:
        return ServiceStatus.STOPPING
    if task.status is Status.COLLECTING:
        return ServiceStatus.ERROR
    if task.status is Status.RUNNING and answers:
        return ServiceStatus.RUNNING
    return ServiceStatus.STARTING


def reason_of(
    task: Task,
    status: ServiceStatus,
    waits: str,
    *,
    isolated: bool = True,
    is_silent: bool = False,
) -> str | None:
    """The reason of a service's status; `None` if it needs none. `waits`: the reason while its
    task waits. `is_silent`: whether its node on a cluster is silent while it runs."""
    match status:
        case ServiceStatus.STARTING | ServiceStatus.RUNNING if is_silent:
            return SILENT
        case ServiceStatus.STARTING if task.status is Status.RUNNING:
            return "Jupyter runs and does not respond yet."
        case ServiceStatus.STARTING:
            return waits
        case ServiceStatus.RUNNING:
            return None if isolated else UNISOLATED
        case ServiceStatus.STOPPING | ServiceStatus.STOPPED:
            return _why_stopped(task)
        case ServiceStatus.ERROR:
            return _why_ended(task)


def _why_stopped(task: Task) -> str | None:
    if task.cancel is None:
        return None
    match task.cancel.actor:
        case Server(reason=reason):
            return reason
        case User(name=name):
            return f"stopped by {name}"


def _why_ended(task: Task) -> str:
    if task.error is not None and task.failure_reason is not FailureReason.EXIT_CODE:
        return task.error
    if task.exit_code is None:
        return "Jupyter has ended"
    return f"Jupyter ended by itself with exit code {task.exit_code}"


def with_last_line(reason: str, task: Task, record: Service) -> str:
    """Append the last line of the log if the service ended by itself: it shows the cause."""
    by_itself = task.failure_reason in (None, FailureReason.EXIT_CODE)
    return f"{reason}: {record.last_words}" if by_itself and record.last_words else reason


def last_words(log: str, token: str) -> str:
    """The last line of a log without the token; empty if it is not printable."""
    line = next((line for line in reversed(log.splitlines()) if line.strip()), "").strip()
    line = _COLOURS.sub("", line).replace(token, "…")
    return line if len(line) <= MAX_LAST_WORDS and line.isprintable() else ""


WARNING_MS = 10 * 60_000
"""Length of the warning before an idle service ends, at most a quarter of the idle time allowed."""
CHECK_MS = 30_000
"""Longest interval between two checks of a service's activity."""
SHORTEST_CHECK_MS = 100


def describe_idle(idle_ms: int) -> str:
    """The reason why the server stops a service that was idle for so long."""
    seconds = idle_ms // 1000
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"idle for {seconds // size} {unit}"
    return f"idle for {seconds} s"


class Idle(NamedTuple):
    """The consequence of a service's inactivity."""

    stops_at: int | None = None
    """When the idle service will be stopped; `None` if it is in use."""
    warned_at: int | None = None
    """When the warning began; `None` if there is none."""
    now: bool = False
    """Whether it is to be stopped now."""


def idle(now: int, last_activity: int, idle_ms: int, before: Idle) -> Idle:
    """Decide whether a service is idle.

    `idle_ms`: the idle time allowed; 0 for no limit. `before`: the result of the last look.

    A service is never stopped without a warning of full length, however long ago the last look was.
    """
    warning = min(WARNING_MS, idle_ms // 4)
    ends = last_activity + idle_ms
    if not idle_ms or now < ends - warning:
        return Idle()
    warned_at = before.warned_at if before.warned_at is not None else now
    stops_at = max(ends, warned_at + warning)
    return Idle(stops_at, warned_at, now=now >= stops_at)


def next_check_ms(now: int, idle_ms: int, idle: Idle) -> int:
    """Milliseconds until the next check of a service's activity."""
    pause = min(CHECK_MS, idle_ms // 10) if idle_ms else CHECK_MS
    if idle.stops_at is not None and idle.stops_at > now:
        pause = min(pause, idle.stops_at - now)
    return max(pause, SHORTEST_CHECK_MS)
