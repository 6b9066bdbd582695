"""The server's settings: type, default and meaning of each, in one place.

docs/configuration.md describes the same settings; a test holds the two together.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from fetchml.config.address import Address
from fetchml.config.proxies import Network
from fetchml.core.requests import dataset, images

SERVICE_DATA = Path("/var/lib/fetchml")
MAX_CONNECTIONS = 2000


def default_data_dir() -> Path:
    if os.geteuid() == 0 or _is_ours(SERVICE_DATA):
        return SERVICE_DATA
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "fetchml"


def _is_ours(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


def machine_cores() -> int:
    return os.cpu_count() or 1


def machine_memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def machine_memory_gb() -> int:
    return machine_memory_mb() >> 10


def memory_for_tasks_gb() -> int:
    """All but an eighth, at most 8 GiB, that the server and the rest of the host keep."""
    total = machine_memory_mb()
    return max(1, total - min(total // 8, 8192) >> 10)


def _slots() -> int:
    return max(4, machine_cores())


def _about(text: str, *, default: str | None = None) -> Meta:
    """What a setting means; `default` in words, where it depends on the machine."""
    return Meta(description=text, extra={"default": default} if default else None)


Count = Annotated[int, Meta(ge=0, lt=1 << 31)]
AtLeastOne = Annotated[int, Meta(ge=1, lt=1 << 31)]
Days = Annotated[int, Meta(ge=0, le=36_500)]
Text = Annotated[str, Meta(min_length=1)]
Domain = Annotated[
    str, Meta(pattern=r"^\*(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$", max_length=200)
]
"""`*.HOST`, in small letters."""


class ServerSettings(msgspec.Struct, frozen=True):
    http: Annotated[Address, _about("Where REST and /ws listen.")] = Address("127.0.0.1", 9101)
    grpc: Annotated[Address, _about("Where gRPC listens.")] = Address("127.0.0.1", 9102)
    public_url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+/?$")] | None,
        _about(
            "What browsers reach `http` by, where that is not its own address, as behind a proxy: "
            "`https://HOST` or `http://HOST:PORT`.",
            default="its own address, or the machine's name where it listens on every address",
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[Network, ...],
        _about(
            "Proxies in front of this server, as addresses or networks. What they say in "
            "X-Forwarded-For counts as the client's address, in the audit and in the limits on "
            "callers without a key."
        ),
    ] = ()
    max_connections: Annotated[
        AtLeastOne,
        _about(
            "Open connections of REST and /ws, and as many of gRPC. One address may hold a fourth "
            "of each; a trusted proxy, and this machine itself, three fourths."
        ),
    ] = MAX_CONNECTIONS
    tls_cert: Annotated[
        Path | None,
        _about(
            "Certificate of both ports, in PEM, with those that lead to its authority behind it. "
            "Read anew when it changes.",
            default="none: no TLS",
        ),
    ] = None
    tls_key: Annotated[
        Path | None, _about("The key of `tls_cert`, in PEM.", default="none: no TLS")
    ] = None
    launcher: Annotated[
        Literal["docker", "process"],
        _about(
            "How tasks run. `docker`: in hardened containers. `process`: as plain child "
            "processes, without any isolation."
        ),
    ] = "docker"
    log_format: Annotated[
        Literal["text", "json"], _about("The log on stderr: lines for people, or JSON objects.")
    ] = "text"


class AuthSettings(msgspec.Struct, frozen=True):
    private: Annotated[bool, _about("Users see only their own tasks; admins see all.")] = False


class RateLimitSettings(msgspec.Struct, frozen=True):
    enabled: Annotated[bool, _about("Limit the requests of each key.")] = True
    per_second: Annotated[
        AtLeastOne, _about("Requests a second that a key may make in the long run.")
    ] = 1000
    burst: Annotated[
        AtLeastOne, _about("Requests that a key may make at once after it was quiet.")
    ] = 5000


class TaskSettings(msgspec.Struct, frozen=True):
    image: Annotated[Text, _about("Image of a task that names none.")] = "python:3.12-slim"
    command: Annotated[
        tuple[Text, ...],
        Meta(min_length=1),
        _about("Command of a task that names none, run in its workspace."),
    ] = ("python", "train.py")
    timeout_seconds: Annotated[
        Count, _about("Time limit of a task that asks for none, in seconds. 0: no limit.")
    ] = 0
    max_timeout_seconds: Annotated[
        Count,
        _about(
            "Longest time limit of a task, in seconds, also of one that asks for none. 0: a task "
            "may run for ever."
        ),
    ] = 0
    cpu: Annotated[
        Count, _about("CPU cores of a task that asks for none. 0: none are held for it.")
    ] = 0
    max_cpu: Annotated[
        Count, _about("Most CPU cores of a task. 0: as many as `[resources] cpu`.")
    ] = 0
    memory_gb: Annotated[
        Count, _about("Memory of a task that asks for none, in GiB. 0: none is held for it.")
    ] = 0
    max_memory_gb: Annotated[
        Count,
        _about(
            "Most memory of a task, in GiB; the limit of a container whose task asks for none, "
            "too. 0: as much as `[resources] memory_gb`."
        ),
    ] = 0
    pids: Annotated[
        Annotated[int, Meta(ge=16, le=1 << 22)],
        _about("Processes and threads that a task's container may have at once."),
    ] = 4096
    tmp_mb: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 24)],
        _about("Size of a container's `/tmp`, in MiB; what lies there counts as memory."),
    ] = 1024
    shm_mb: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 24)],
        _about(
            "Size of a container's `/dev/shm`, in MiB, where data loaders pass batches; what lies "
            "there counts as memory."
        ),
    ] = 1024
    max_retries: Annotated[Count, _about("Retries of a task that asks for none.")] = 0
    log_bytes: Annotated[
        Annotated[int, Meta(ge=128 * 1024, le=1 << 40)],
        _about("How much of each attempt's output is kept, in bytes; the oldest goes first."),
    ] = 64 * 1024 * 1024
    outputs_files: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        _about(
            "Files and folders that are kept of a task's outputs; others are removed, and the task "
            "says how many. A list of outputs shows 10,000 files."
        ),
    ] = 10_000
    outputs_mb: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 30)],
        _about("What is kept of a task's outputs, in MiB, likewise. 0: any size."),
    ] = 102_400
    outputs_keep_days: Annotated[
        Days,
        _about("Days after which the outputs of an ended task are removed. 0: never."),
    ] = 0
    reserve_after: Annotated[
        Count,
        _about(
            "Seconds that a large task waits while smaller ones pass it. After that, what gets "
            "free is kept for it."
        ),
    ] = 600
    allow_images: Annotated[
        tuple[Text, ...],
        _about(
            "Images that tasks and Jupyter services may name, as patterns: `python`, `python:3.*`, "
            "`ghcr.io/acme/*`. The default image and `[jupyter] images` are always allowed."
        ),
    ] = images.ANY
    pull: Annotated[
        Literal["missing", "always", "never"],
        _about(
            "When an image is pulled. `always`: before each task, so that its registry is asked "
            "even where the image is on this machine. `never`: only what is here is run."
        ),
    ] = "missing"
    registry_credentials: Annotated[
        bool,
        _about(
            "Pull with the logins in `~/.docker/config.json` of the server's user, for all users' "
            "tasks. `false`: pull without a login."
        ),
    ] = True
    network: Annotated[
        Text,
        _about(
            "Docker network of the tasks. `fetchml`: one of FetchML's own, on which no container "
            "reaches another. `none`: no network."
        ),
    ] = "fetchml"
    user: Annotated[
        Annotated[str, Meta(pattern=r"^(auto|image|[0-9]+:[0-9]+)$")],
        _about(
            "Who a task is in its container. `auto`: a uid of its own for each user, from "
            "`first_uid` on; the server's own where the server is neither root nor the service. "
            "`image`: the image's user, root allowed. Else `UID:GID`."
        ),
    ] = "auto"
    first_uid: Annotated[
        Annotated[int, Meta(ge=1000, le=1 << 30)],
        _about(
            "The first uid of the users' tasks where `user` is `auto`: this one and the 100,000 "
            "after it should be nobody's on this machine."
        ),
    ] = 1_900_000
    max_running: Annotated[
        AtLeastOne,
        _about("Tasks that may run at once.", default="the number of cores, at least 4"),
    ] = msgspec.field(default_factory=_slots)
    grace_seconds: Annotated[
        Count, _about("Seconds from SIGTERM to SIGKILL when a task is cancelled or timed out.")
    ] = 10


class ResourceSettings(msgspec.Struct, frozen=True):
    cpu: Annotated[
        Count, _about("CPU cores that tasks may hold together.", default="all of the machine")
    ] = msgspec.field(default_factory=machine_cores)
    memory_gb: Annotated[
        Count,
        _about(
            "Memory that tasks may hold together, in GiB. A container whose task asks for no "
            "memory is limited to so much too.",
            default="all of the machine but an eighth, or 8 GiB where that is less",
        ),
    ] = msgspec.field(default_factory=memory_for_tasks_gb)


class GpuSettings(msgspec.Struct, frozen=True):
    slots: Annotated[
        Count,
        _about(
            "Plain GPU slots: they are counted, and no device is passed to a task. 0: the GPUs "
            "that NVIDIA's driver tells of, each passed to the tasks that have it."
        ),
    ] = 0
    slots_per_gpu: Annotated[
        AtLeastOne, _about("Tasks that may share a GPU. 1: each has its GPUs for itself.")
    ] = 1
    placement: Annotated[
        Literal["fill", "spread"],
        _about(
            "Which GPUs a task is given. `fill`: neighbours together, in the smallest gap that "
            "fits, shared ones the fullest first. `spread`: the emptiest, far from what is in use."
        ),
    ] = "fill"


class SchedulingSettings(msgspec.Struct, frozen=True):
    ahead: Annotated[
        bool,
        _about(
            "Make the tasks that would start next ready while they wait: their containers are "
            "started, and their commands wait at a gate."
        ),
    ] = True
    half_life: Annotated[
        Count,
        _about(
            "Seconds in which what a user has had of the box loses half of its weight; among tasks "
            "of one priority, who had less goes first. 0: nothing is forgotten."
        ),
    ] = 86_400
    preemption: Annotated[
        bool,
        _about(
            "Stop tasks that are `preemptible` when that lets a more urgent task start; they are "
            "begun anew later."
        ),
    ] = False


class QuotaSettings(msgspec.Struct, frozen=True):
    user_gpus: Annotated[
        Count, _about("GPUs that the tasks of one user may hold together. 0: any number.")
    ] = 0
    user_running: Annotated[
        Count, _about("Tasks of one user that may run at the same time. 0: any number.")
    ] = 0
    user_queued: Annotated[
        Count, _about("Tasks of one user that may wait at the same time. 0: any number.")
    ] = 100_000
    user_queued_mb: Annotated[
        Count,
        _about(
            "Memory of the server, in MiB, that one user's tasks may take while they wait or run. "
            "0: any, so that one user can fill the queue."
        ),
    ] = 160

    user_storage_gb: Annotated[
        Count | None,
        _about(
            "Room on the disk that the files of one user may take, in GiB: snapshots, outputs, "
            "logs, Jupyter workspaces, and what running tasks write. A user with more submits and "
            "uploads nothing new, and running tasks that write more than that are ended. 0: any "
            "amount.",
            default="a fifth of the disk that the data directory is on, at least 1",
        ),
    ] = None


class DatasetSettings(msgspec.Struct, frozen=True):
    root: Annotated[
        Path | None,
        _about(
            "Folder whose sub-folders are the datasets that tasks may name.",
            default="none: tasks can name no datasets",
        ),
    ] = None
    allow: Annotated[
        tuple[Text, ...],
        _about(
            "Schemes that the source of a dataset may have. `file`: what lies below `root`. Beside "
            "`http` and `https` others, such as `s3`, that the installed fsspec reads."
        ),
    ] = dataset.SCHEMES
    allow_private: Annotated[
        bool, _about("Fetch from private networks and from this machine too.")
    ] = False
    allow_hosts: Annotated[
        tuple[Text, ...],
        _about("Hosts that are fetched from whatever their address, as sources name them."),
    ] = ()
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 60)],
        _about(
            "How much of what was fetched is kept, in bytes; what was unused longest goes first."
        ),
    ] = 50 * 1024 * 1024 * 1024


class SnapshotSettings(msgspec.Struct, frozen=True):
    max_bytes: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 40)],
        _about("Largest snapshot, in bytes, packed or unpacked."),
    ] = 2 * 1024 * 1024 * 1024
    max_files: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        _about("Most files and folders in a snapshot."),
    ] = 100_000
    keep_days: Annotated[
        Annotated[int, Meta(ge=1, le=36_500)],
        _about("Days that a snapshot is kept after it was last used, if nothing live names it."),
    ] = 30


class JupyterSettings(msgspec.Struct, frozen=True):
    root: Annotated[
        Path | None,
        _about(
            "Folder of the workspaces of all Jupyter services.",
            default="the folder `jupyter` of the data directory",
        ),
    ] = None
    idle_seconds: Annotated[
        Count,
        _about(
            "A Jupyter service in which nothing happened for so many seconds is stopped, after a "
            "warning. 0: never."
        ),
    ] = 14_400
    images: Annotated[
        dict[Text, Text],
        _about(
            "Names of images that may be asked for, each with the image that is run for it. Other "
            "names are run as they are.",
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    command: Annotated[
        tuple[Text, ...],
        Meta(min_length=1),
        _about(
            "What starts JupyterLab with `--launcher process`: a program, looked for on the "
            "server's `PATH` and beside the server's own Python, and its first arguments. In "
            "containers the image's `jupyter` is run."
        ),
    ] = ("jupyter-lab",)
    domain: Annotated[
        Domain | None,
        _about(
            "Gives each Jupyter service an origin of its own: with `*.HOST` a service is served at "
            "`<id>.HOST`, on the server's own port. Needs a wildcard DNS entry and, with TLS, a "
            "certificate for `*.HOST`; `*.localhost` needs neither on this machine.",
            default="all services share the server's address",
        ),
    ] = None


class HistorySettings(msgspec.Struct, frozen=True):
    journal_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        _about("Changes that are kept, so that watchers can resume after a cut."),
    ] = 200_000
    audit_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        _about("Entries of the audit that are kept, beside the tasks' own."),
    ] = 100_000
    keep_days: Annotated[
        Days,
        _about(
            "Days after which an ended task is removed, with its outputs, logs and row; how many "
            "ended on each day stays. 0: never."
        ),
    ] = 0
    time_zone: Annotated[
        ZoneInfo, _about("Time zone in which the day of the statistics begins.")
    ] = ZoneInfo("UTC")
    min_free_mb: Annotated[
        Count, _about("Free disk space, in MiB, below which no more tasks are accepted.")
    ] = 512


class Settings(msgspec.Struct, frozen=True):
    data_dir: Annotated[
        Path,
        _about(
            "Folder of all that the server keeps. One folder is one server.",
            default="`/var/lib/fetchml` for root and for its owner, else "
            "`$XDG_STATE_HOME/fetchml` or `~/.local/state/fetchml`",
        ),
    ] = msgspec.field(default_factory=default_data_dir)
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    tasks: TaskSettings = msgspec.field(default_factory=TaskSettings)
    resources: ResourceSettings = msgspec.field(default_factory=ResourceSettings)
    gpu: GpuSettings = GpuSettings()
    scheduling: SchedulingSettings = SchedulingSettings()
    quotas: QuotaSettings = QuotaSettings()
    datasets: DatasetSettings = DatasetSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    jupyter: JupyterSettings = msgspec.field(default_factory=JupyterSettings)
    history: HistorySettings = HistorySettings()


class Setting(msgspec.Struct, frozen=True):
    """One setting, as the loader and the documentation see it."""

    table: str
    """Empty: at the top of the file."""
    name: str
    type: Any
    about: str
    default: str
    """As Markdown: in TOML, or in words where it depends on the machine."""

    @property
    def variable(self) -> str:
        """The environment variable. Those of [server] have no table in their name."""
        parts = [self.name] if self.table in {"", "server"} else [self.table, self.name]
        return "_".join(["FETCHML", *parts]).upper()

    def __str__(self) -> str:
        return f"[{self.table}] {self.name}" if self.table else self.name


def all_settings() -> Iterator[Setting]:
    """Every setting, in the order in which they are defined."""
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            for inner in msgspec.structs.fields(field.type):
                yield _setting(field.name, inner)
        else:
            yield _setting("", field)


def _setting(table: str, field: msgspec.structs.FieldInfo) -> Setting:
    metas = [meta for meta in get_args(field.type) if isinstance(meta, Meta)]
    about = next(meta for meta in metas if meta.description)
    default = (about.extra or {}).get("default") or f"`{_toml(field.default)}`"
    return Setting(table, field.name, field.type, str(about.description), str(default))


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case _:
            return f'"{value}"'
