"""Jupyter services: what a request for one must be, what runs it, and what is told of it.

A service is a task of another kind (`Task.service`), with a record beside it that says what the
task does not: name, workspace, token.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

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
from fetchml.core.requests.checks import (
    MAX_INT,
    Check,
    Violation,
    check_fields,
    image,
    integer,
    line,
    text,
)
from fetchml.core.requests.snapshot import parents, path_fault
from fetchml.core.requests.task_limits import TaskLimits, resource_violations

DEFAULT_IMAGE = "jupyter/pytorch:latest"
MAX_NAME_CHARACTERS = 128
PRIORITY = 10
"""Of its task: somebody sits before it and waits."""
WORKSPACE = "/workspace"
SOCKET = "/.fetchml/run/jupyter.sock"
"""Where Jupyter listens: in the attempt's run folder, so that it needs no network."""
WARNING_MS = 10 * 60_000
"""An idle service is warned of its end for so long, or for a quarter of the time it may be idle."""
LOOK_MS = 30_000
"""How often its activity is looked at, at the least."""
SHORTEST_LOOK_MS = 100
MAX_LAST_WORDS = 200


class ServiceStatus(StrEnum):
    """The contract's states of a Jupyter service. The last two are final."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"


class Service(Value, frozen=True):
    """A Jupyter service's record. Stored as JSON; a field added later must have a default."""

    id: str
    """Also that of its task."""
    user: str
    name: str
    image: str
    """As it was asked for."""
    workspace: str
    """As its user calls it."""
    folder: str
    """Where that is, below the root of all workspaces."""
    token: str
    """Stored empty: it is derived from the server's key. Releases up to 1.8 stored it."""
    created_at: int
    cpu: int | None = None
    memory_gb: int | None = None
    gpu: int | None = None
    last_words: str | None = None
    """The last line that it wrote before it ended; empty: nothing to show. None: not looked at."""


class Activity(Value, frozen=True):
    """What Jupyter says of its kernels and terminals."""

    busy: bool
    """A kernel is executing."""
    last: int | None = None
    """When something last happened in one (milliseconds since the epoch); None: there are none."""


def _workspace(value: object) -> str | None:
    wrong = text(4096, empty=False)(value)
    if wrong is not None:
        return wrong
    path = str(value)
    if not path.isprintable():
        return "must be printable"
    wrong = path_fault(path)
    return None if wrong is None else f"must be a path below the server's own folder: it {wrong}"


_RULES: dict[str, Check] = {
    "name": line(MAX_NAME_CHARACTERS, empty=False),
    "workspace": _workspace,
    "image": image,
    "cpu": integer(0, MAX_INT),
    "memory_gb": integer(0, MAX_INT),
    "gpu": integer(0, MAX_INT),
}

KNOWN_FIELDS = frozenset(_RULES)
"""The request properties that mean something; others are ignored, and told."""


def violations(
    request: Mapping[str, object], capacity: Resources, limits: TaskLimits
) -> list[Violation]:
    """What is wrong with a request for a service."""
    fields, found = check_fields(request, _RULES, required=("name",))
    return found + resource_violations(fields, capacity, limits)


def default_workspace(name: str, service_id: str) -> str:
    """The service's name, if a folder can have it."""
    return service_id if "/" in name or _workspace(name) is not None else name


def folder_of(workspace: str, user: str, *, private: bool) -> str:
    """Where a workspace is, below the root. On a private server each user has a folder there."""
    return f"{user}/{workspace}" if private else workspace


def folder_fault(folder: str, known: Iterable[str]) -> str | None:
    """Why a folder can't be a workspace beside those that are `known`.

    A container may put a link in the place of any folder in its workspace, at any moment: so no
    workspace may lie in another one.
    """
    wrong = path_fault(folder)
    if wrong is not None:
        return f"it {wrong}"
    above = frozenset(parents(folder))
    if any(other in above or other.startswith(f"{folder}/") for other in known):
        return "it lies in another workspace, or another lies in it"
    return None


def login_cookie(service_id: str) -> str:
    """The name of the cookie by which Jupyter knows who has logged in: each service has one of its
    own, since cookies are shared by all that a host serves."""
    return f"jupyter-{service_id}"


def task_spec(record: Service, real_image: str) -> TaskSpec:
    """What runs a service in a container."""
    return TaskSpec(
        job_name="jupyter",
        image=real_image,
        # In an image whose user is root it runs as root, as the server's settings say.
        command=("jupyter", "lab", *_flags(record, SOCKET, WORKSPACE)),
        priority=PRIORITY,
        cpu=record.cpu,
        memory_gb=record.memory_gb,
        gpu=record.gpu,
        env={
            "HOME": WORKSPACE,
            # What signs its cookies: two services with one workspace must not share it.
            "JUPYTER_RUNTIME_DIR": "/tmp/jupyter-runtime",  # noqa: S108 - in the container
        },
    )


_IN_ITS_FOLDERS = """\
cd "$FETCHML_DATASETS/workspace" && HOME=$(pwd -P) && cd "$HOME" || exit
exec 9<"$FETCHML_WORKSPACE/../run" || exit
export HOME JUPYTER_RUNTIME_DIR="$FETCHML_WORKSPACE/runtime"
exec "$@" --ServerApp.root_dir="$HOME"
"""
"""For `sh -c`: only the attempt knows where its folders are. The workspace is linked as a dataset
would be. The socket is named by an open folder: its real path may be longer than 107 bytes, which
no socket's may."""


def process_spec(record: Service, command: Sequence[str], path: str) -> TaskSpec:
    """What runs a service as a plain process, without a container. `command`: of JupyterLab on
    this machine; `path`: where it finds programs."""
    flags = _flags(record, "/proc/self/fd/9/jupyter.sock", None)
    return replace(
        task_spec(record, record.image),
        command=("/bin/sh", "-c", _IN_ITS_FOLDERS, "jupyter", *command, *flags),
        env={"PATH": path},
    )


def _flags(record: Service, sock: str, root_dir: str | None) -> list[str]:
    settings = {
        "sock": sock,
        "sock_mode": "0600",
        "base_url": f"/jupyter/{record.id}/",
        "root_dir": root_dir,
        "allow_remote_access": "True",
        "terminals_enabled": "True",
        # Who would stop it from the page gets an error for it; there is 'fetchml jupyter stop'.
        "quit_button": "False",
    }
    given = [f"--ServerApp.{name}={value}" for name, value in settings.items() if value is not None]
    cookie = f"--IdentityProvider.cookie_name={login_cookie(record.id)}"
    return ["--no-browser", "--allow-root", *given, cookie]


def status_of(task: Task, *, answers: bool) -> ServiceStatus:
    """`answers`: Jupyter has answered since its task runs."""
    if task.status in ENDED:
        return ServiceStatus.ERROR if task.cancel is None else ServiceStatus.STOPPED
    if task.cancel is not None:
        return ServiceStatus.STOPPING
    if task.status is Status.COLLECTING:
        return ServiceStatus.ERROR
    if task.status is Status.RUNNING and answers:
        return ServiceStatus.RUNNING
    return ServiceStatus.STARTING


UNISOLATED = "It runs as a plain process of the server's own user, which nothing isolates"


def reason_of(
    task: Task, status: ServiceStatus, waits: str, *, isolated: bool = True
) -> str | None:
    """Why a service is as it is. `waits`: what is said of a task that was not started yet."""
    match status:
        case ServiceStatus.STARTING if task.status is Status.RUNNING:
            return "Jupyter runs and does not answer yet."
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


def with_last_words(reason: str, task: Task, record: Service) -> str:
    """Where it ended by itself its log says why, else it was overtaken by its end."""
    by_itself = task.failure_reason in (None, FailureReason.EXIT_CODE)
    return f"{reason}: {record.last_words}" if by_itself and record.last_words else reason


def last_words(log: str, token: str) -> str:
    """The last line of a log, if it can be shown; without the token, which is a secret."""
    line = next((line for line in reversed(log.splitlines()) if line.strip()), "").strip()
    line = _COLOURS.sub("", line).replace(token, "…")
    return line if len(line) <= MAX_LAST_WORDS and line.isprintable() else ""


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def idle_words(idle_ms: int) -> str:
    """The reason why the server stops a service that was idle for so long."""
    seconds = idle_ms // 1000
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"idle for {seconds // size} {unit}"
    return f"idle for {seconds} s"


class Idle(NamedTuple):
    """What follows from how long nothing has happened."""

    stops_at: int | None = None
    """It is idle, and ends then. None: it is in use."""
    warned_at: int | None = None
    """Since when that is told."""
    now: bool = False
    """It ends now."""


def idle(now: int, last_activity: int, idle_ms: int, before: Idle) -> Idle:
    """`idle_ms` 0: it may be idle for ever. `before`: what followed when it was looked at last.

    Nothing ends without a warning of full length, however long nobody looked.
    """
    warning = min(WARNING_MS, idle_ms // 4)
    ends = last_activity + idle_ms
    if not idle_ms or now < ends - warning:
        return Idle()
    warned_at = before.warned_at if before.warned_at is not None else now
    stops_at = max(ends, warned_at + warning)
    return Idle(stops_at, warned_at, now=now >= stops_at)


def next_look_ms(now: int, idle_ms: int, found: Idle) -> int:
    """After how long its activity is looked at again."""
    pause = min(LOOK_MS, idle_ms // 10) if idle_ms else LOOK_MS
    if found.stops_at is not None and found.stops_at > now:
        pause = min(pause, found.stops_at - now)
    return max(pause, SHORTEST_LOOK_MS)
