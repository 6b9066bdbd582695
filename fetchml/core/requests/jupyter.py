"""Jupyter services: the rules of requests, and the tasks that run them.

A service is a task of another kind (`Task.service`) with a record beside it for what a task does
not have: name, workspace, token.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec.structs import replace

from fetchml.core.model import (
    Resources,
    TaskSpec,
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
from fetchml.core.requests.snapshot_paths import parents, path_fault
from fetchml.core.requests.task_limits import TaskLimits, resource_violations

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
"""Known request properties. Others are ignored and named in the reply's header (reading 12)."""


def violations(
    request: Mapping[str, object], capacity: Resources, limits: TaskLimits
) -> list[Violation]:
    """Return the violations of a request for a service."""
    fields, found = check_fields(request, _RULES, required=("name",))
    return found + resource_violations(fields, capacity, limits)


def default_workspace(name: str, service_id: str) -> str:
    """The default workspace: the service's name, if it is a valid path."""
    return service_id if "/" in name or _workspace(name) is not None else name


def folder_of(workspace: str, user: str, *, private: bool) -> str:
    """Path of a workspace below the root. On a private server each user has a folder there."""
    return f"{user}/{workspace}" if private else workspace


def is_shared(folder: str, patterns: Sequence[str]) -> bool:
    """Return whether every user may work in a workspace: its path matches one of the patterns."""
    return any(fnmatchcase(folder, pattern) for pattern in patterns)


def folder_fault(folder: str, known: Iterable[str]) -> str | None:
    """Return why a folder can't be a workspace beside the `known` ones; `None` if it can.

    No workspace may lie inside another: a container may replace any folder in its workspace with a
    link at any moment.
    """
    wrong = path_fault(folder)
    if wrong is not None:
        return f"it {wrong}"
    above = frozenset(parents(folder))
    if any(other in above or other.startswith(f"{folder}/") for other in known):
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
        # Shutting down from the page returns an error; 'fetchml jupyter stop' is the way.
        "quit_button": "False",
    }
    given = [f"--ServerApp.{name}={value}" for name, value in settings.items() if value is not None]
    cookie = f"--IdentityProvider.cookie_name={login_cookie(record.id)}"
    return ["--no-browser", "--allow-root", *given, cookie]
