"""All settings of the server: name, type, default and meaning, each in one place.

docs/configuration.md has the same table; a test compares the two.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from fetchml.config.address import Address
from fetchml.config.data_dir import default_data_dir
from fetchml.config.proxies import Network
from fetchml.core.model import EventKind
from fetchml.core.requests import dataset, images, volumes
from fetchml.system import host


def about(text: str, *, default: str | None = None) -> Meta:
    """Describe a setting. `default` is in words, for a default that depends on the host."""
    return Meta(description=text, extra={"default": default} if default else None)


Count = Annotated[int, Meta(ge=0, lt=1 << 31)]
Percent = Annotated[int, Meta(ge=1, le=100)]
AtLeastOne = Annotated[int, Meta(ge=1, lt=1 << 31)]
Days = Annotated[int, Meta(ge=0, le=36_500)]
Text = Annotated[str, Meta(min_length=1)]
Domain = Annotated[
    str, Meta(pattern=r"^\*(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$", max_length=200)
]
"""`*.HOST`, in small letters."""


MAX_CONNECTIONS = 2000


class ServerSettings(msgspec.Struct, frozen=True):
    """`[server]`"""

    http: Annotated[Address, about("Listen address for REST, `/ws` and Jupyter services.")] = (
        Address("127.0.0.1", 9101)
    )
    grpc: Annotated[Address, about("Listen address for gRPC.")] = Address("127.0.0.1", 9102)
    public_url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+/?$")] | None,
        about(
            "URL at which browsers reach `http`, if it differs from the listen address, for "
            "example behind a proxy: `https://HOST` or `http://HOST:PORT`.",
            default="the listen address, or the host's name if the server listens on all addresses",
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[Network, ...],
        about(
            "Addresses or networks of trusted reverse proxies. For requests from them, the audit "
            "and the limits for callers without a key use the client address in "
            "`X-Forwarded-For`."
        ),
    ] = ()
    max_connections: Annotated[
        AtLeastOne,
        about(
            "Maximum number of open connections to `http`, and separately to `grpc`. On `http`, "
            "one address may hold a quarter of them; a trusted proxy or this host, three "
            "quarters."
        ),
    ] = MAX_CONNECTIONS
    tls_cert: Annotated[
        Path | None,
        about(
            "PEM file with the certificate for both ports, followed by its intermediate "
            "certificates. Reloaded when it changes.",
            default="none: no TLS",
        ),
    ] = None
    tls_key: Annotated[
        Path | None, about("PEM file with the private key of `tls_cert`.", default="none: no TLS")
    ] = None
    launcher: Annotated[
        Literal["docker", "process", "slurm"],
        about(
            "How tasks run. `docker`: in hardened containers. `process`: as plain child processes "
            "without isolation. `slurm`: as jobs on a Slurm cluster."
        ),
    ] = "docker"
    log_format: Annotated[
        Literal["text", "json"],
        about("Log format on stderr: `text` for people, `json` for programs."),
    ] = "text"


class AuthSettings(msgspec.Struct, frozen=True):
    """`[auth]`"""

    private: Annotated[
        bool,
        about(
            "If `true`, users see only their own tasks, snapshots, experiments and Jupyter "
            "services. Admins see everything."
        ),
    ] = False


class RateLimitSettings(msgspec.Struct, frozen=True):
    """`[rate_limit]`"""

    enabled: Annotated[bool, about("Limit the request rate of each key.")] = True
    per_second: Annotated[
        AtLeastOne, about("Sustained request rate per key, in requests per second.")
    ] = 1000
    burst: Annotated[AtLeastOne, about("Requests that a key may send in one burst.")] = 5000


def default_max_running() -> int:
    return max(4, host.cores())


class TaskSettings(msgspec.Struct, frozen=True):
    """`[tasks]`"""

    image: Annotated[Text, about("Image for tasks that specify none.")] = "python:3.12-slim"
    command: Annotated[
        tuple[Text, ...],
        Meta(min_length=1),
        about("Command for tasks that specify none. It runs in the task's workspace."),
    ] = ("python", "train.py")
    timeout_seconds: Annotated[
        Count, about("Time limit, in seconds, for tasks that specify none. 0: no limit.")
    ] = 0
    max_timeout_seconds: Annotated[
        Count,
        about(
            "Maximum time limit, in seconds. It also applies to tasks without a limit. 0: no "
            "maximum."
        ),
    ] = 0
    cpu: Annotated[
        Count, about("CPU cores for tasks that request none. 0: reserve no cores for them.")
    ] = 0
    max_cpu: Annotated[
        Count, about("Maximum number of CPU cores per task. 0: `[resources] cpu`.")
    ] = 0
    memory_gb: Annotated[
        Count,
        about("Memory, in GiB, for tasks that request none. 0: reserve no memory for them."),
    ] = 0
    max_memory_gb: Annotated[
        Count,
        about(
            "Maximum memory per task, in GiB. It is also the memory limit for containers of tasks "
            "that request none. 0: `[resources] memory_gb`."
        ),
    ] = 0
    pids: Annotated[
        Annotated[int, Meta(ge=16, le=1 << 22)],
        about("Maximum number of processes and threads in a task's container."),
    ] = 4096
    tmp_mb: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 24)],
        about("Size of `/tmp` in a container, in MiB. Its files count toward the task's memory."),
    ] = 1024
    shm_mb: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 24)],
        about(
            "Size of `/dev/shm` in a container, in MiB. Data loaders exchange batches there. Its "
            "files count toward the task's memory."
        ),
    ] = 1024
    max_retries: Annotated[Count, about("Number of retries for tasks that specify none.")] = 0
    log_bytes: Annotated[
        Annotated[int, Meta(ge=128 * 1024, le=1 << 40)],
        about("Maximum log size per attempt, in bytes. The oldest bytes are dropped first."),
    ] = 64 * 1024 * 1024
    outputs_files: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        about(
            "Maximum number of output files and folders to keep per task. The server deletes the "
            "rest and records their number in the task's `note`. A list of outputs shows at most "
            "10,000 files."
        ),
    ] = 10_000
    outputs_mb: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 30)],
        about(
            "Maximum size of the outputs to keep per task, in MiB. The server deletes the rest "
            "and records it in `note`. 0: no limit."
        ),
    ] = 102_400
    outputs_keep_days: Annotated[
        Days,
        about("Days after a task's end until the server deletes its outputs. 0: never."),
    ] = 0
    reserve_after: Annotated[
        Count,
        about(
            "Seconds that a large waiting task can be overtaken by smaller ones. After that, the "
            "scheduler reserves freed resources for it."
        ),
    ] = 600
    allow_images: Annotated[
        tuple[Text, ...],
        about(
            "Patterns of images that tasks and Jupyter services may use, such as `python`, "
            "`python:3.*` or `ghcr.io/acme/*`. Image paths, which some clusters use, need a "
            "pattern that begins with `/`, such as `/shared/images/*`. The default image and "
            "`[jupyter] images` are always allowed."
        ),
    ] = images.ANY
    pull: Annotated[
        Literal["missing", "always", "never"],
        about(
            "When to pull an image. `missing`: if it is not on this host. `always`: before each "
            "task, to run the registry's latest version. `never`: run only images that are "
            "already on this host."
        ),
    ] = "missing"
    registry_credentials: Annotated[
        bool,
        about(
            "Pull with the logins in `~/.docker/config.json` of the server's user, for the tasks "
            "of all users. `false`: pull without a login."
        ),
    ] = True
    network: Annotated[
        Text,
        about(
            "Docker network for tasks. `fetchml`: a network that the server creates, in which "
            "containers cannot reach each other. `none`: no network."
        ),
    ] = "fetchml"
    allow_metadata: Annotated[
        bool,
        about(
            "Allow containers on the network `fetchml` to use the cloud's metadata service, and "
            "so the credentials of this host's role."
        ),
    ] = False
    user: Annotated[
        Annotated[str, Meta(pattern=r"^(auto|image|[0-9]+:[0-9]+)$")],
        about(
            "User that runs a task in its container. `auto`: a separate uid for each FetchML "
            "user, counting from `first_uid`; if the server is neither root nor the systemd "
            "service, the server's own uid. `image`: the image's user, which may be root. "
            "Otherwise `UID:GID`."
        ),
    ] = "auto"
    first_uid: Annotated[
        Annotated[int, Meta(ge=1000, le=1 << 30)],
        about(
            "First uid to assign if `user` is `auto`. Reserve this uid and the 100,000 after it: "
            "no account of this host should use them."
        ),
    ] = 1_900_000
    max_running: Annotated[
        AtLeastOne,
        about("Maximum number of running tasks.", default="the number of cores, at least 4"),
    ] = msgspec.field(default_factory=default_max_running)
    grace_seconds: Annotated[
        Count,
        about(
            "Seconds between SIGTERM and SIGKILL when a task is cancelled or reaches its time "
            "limit."
        ),
    ] = 10


def memory_for_tasks_gb() -> int:
    """The host's memory but an eighth, at most 8 GiB, which its other processes keep."""
    total = host.memory_mb()
    return max(1, total - min(total // 8, 8192) >> 10)


class ResourceSettings(msgspec.Struct, frozen=True):
    """`[resources]`"""

    cpu: Annotated[
        Count, about("CPU cores available to tasks, in total.", default="all cores of the host")
    ] = msgspec.field(default_factory=host.cores)
    memory_gb: Annotated[
        Count,
        about(
            "Memory available to tasks in total, in GiB. It is also the memory limit for "
            "containers of tasks that request none.",
            default="all memory of the host, less an eighth (at most 8 GiB)",
        ),
    ] = msgspec.field(default_factory=memory_for_tasks_gb)


class GpuSettings(msgspec.Struct, frozen=True):
    """`[gpu]`"""

    slots: Annotated[
        Count,
        about(
            "Number of plain GPU slots. Slots are only counted; no device is passed to the task. "
            "0: use the GPUs that the NVIDIA driver reports, and pass each to the tasks that hold "
            "it."
        ),
    ] = 0
    slots_per_gpu: Annotated[
        AtLeastOne, about("Maximum number of tasks that share a GPU. 1: no sharing.")
    ] = 1
    packing: Annotated[
        bool,
        about(
            "Let tasks share a GPU only if its memory suffices for the measured peaks of their "
            "jobs. Jobs without a measured peak get a GPU to themselves. Requires `slots_per_gpu` "
            "above 1."
        ),
    ] = False
    packing_margin_percent: Annotated[
        Percent, about("Percentage of a GPU's memory that `packing` leaves free.")
    ] = 10
    placement: Annotated[
        Literal["fill", "spread"],
        about(
            "How the scheduler chooses GPUs. `fill`: adjacent GPUs in the smallest gap that fits; "
            "among shared GPUs, the fullest. `spread`: the emptiest GPUs, far from those in use."
        ),
    ] = "fill"
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds after which a running task that does not use its GPUs counts as idle. 0: no "
            "idle detection."
        ),
    ] = 1800
    idle_percent: Annotated[
        Percent, about("Utilization, in percent, below which a GPU counts as unused.")
    ] = 5
    idle_start_seconds: Annotated[
        Count,
        about("Seconds at the start of each attempt during which the task cannot count as idle."),
    ] = 600
    idle_action: Annotated[
        Literal["report", "stop"],
        about(
            "What to do with an idle task. `report`: mark it. `stop`: mark it, and stop it after "
            "another `idle_warning_seconds` of idleness; it then fails."
        ),
    ] = "report"
    idle_warning_seconds: Annotated[
        Count, about("Seconds between marking an idle task and stopping it.")
    ] = 600
    may_idle: Annotated[
        bool, about("Accept `may_idle` in requests. Tasks with it never count as idle.")
    ] = False


class SchedulingSettings(msgspec.Struct, frozen=True):
    """`[scheduling]`"""

    ahead: Annotated[
        bool,
        about(
            "Prestage the tasks that are next in the queue: start their containers early, and "
            "hold each command at a gate until its resources are free."
        ),
    ] = True
    half_life: Annotated[
        Count,
        about(
            "Half-life of past usage, in seconds. Among tasks of equal priority, the user with "
            "less usage goes first. 0: usage never decays."
        ),
    ] = 86_400
    preemption: Annotated[
        bool,
        about(
            "Stop `preemptible` tasks if that lets a task of higher priority start. The server "
            "queues them again; a task with a checkpoint resumes from it."
        ),
    ] = False


class QuotaSettings(msgspec.Struct, frozen=True):
    """`[quotas]`"""

    user_gpus: Annotated[
        Count, about("Maximum number of GPUs that the tasks of one user hold. 0: no limit.")
    ] = 0
    user_running: Annotated[
        Count, about("Maximum number of running tasks per user. 0: no limit.")
    ] = 0
    user_queued: Annotated[
        Count, about("Maximum number of waiting tasks per user. 0: no limit.")
    ] = 100_000
    user_queued_mb: Annotated[
        Count,
        about(
            "Maximum server memory, in MiB, for the waiting and running tasks of one user. 0: no "
            "limit; one user can then fill the queue."
        ),
    ] = 160

    user_storage_gb: Annotated[
        Count | None,
        about(
            "Maximum disk usage per user, in GiB: snapshots, outputs, logs, artifacts, Jupyter "
            "workspaces, and files of running tasks. Above it, the server rejects the user's "
            "submits and uploads, and stops running tasks that write more than that. 0: no limit.",
            default="a fifth of the data directory's disk, at least 1",
        ),
    ] = None


class DatasetSettings(msgspec.Struct, frozen=True):
    """`[datasets]`"""

    root: Annotated[
        Path | None,
        about(
            "Directory that contains the datasets. Tasks name them by subdirectory.",
            default="none: tasks cannot name datasets",
        ),
    ] = None
    allow: Annotated[
        tuple[Text, ...],
        about(
            "URL schemes allowed for dataset sources. `file`: paths below `root`. Schemes other "
            "than `http` and `https`, such as `s3`, require an installed fsspec with support for "
            "them."
        ),
    ] = dataset.SCHEMES
    allow_private: Annotated[
        bool, about("Also fetch from private networks and from this host.")
    ] = False
    allow_hosts: Annotated[
        tuple[Text, ...],
        about("Hosts that are allowed whatever their address. Spell them as in the source URL."),
    ] = ()
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 60)],
        about(
            "Maximum size of the dataset cache, in bytes. The least recently used datasets are "
            "removed first."
        ),
    ] = 50 * 1024 * 1024 * 1024


class SnapshotSettings(msgspec.Struct, frozen=True):
    """`[snapshots]`"""

    max_bytes: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 40)],
        about("Maximum size of a snapshot, in bytes, packed and unpacked."),
    ] = 2 * 1024 * 1024 * 1024
    max_files: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        about("Maximum number of files and folders in a snapshot."),
    ] = 100_000
    keep_days: Annotated[
        Annotated[int, Meta(ge=1, le=36_500)],
        about(
            "Days after its last use until the server deletes a snapshot. Snapshots that a live "
            "task or an experiment refers to are kept."
        ),
    ] = 30


class HistorySettings(msgspec.Struct, frozen=True):
    """`[history]`"""

    journal_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        about("Number of changes to keep, so that watchers can resume after a disconnect."),
    ] = 200_000
    audit_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        about(
            "Number of audit entries to keep. Entries that are part of task records do not count."
        ),
    ] = 100_000
    usage_rows: Annotated[
        Annotated[int, Meta(ge=0, le=100_000_000)],
        about(
            "Number of usage samples to keep. The server takes one sample of each task and GPU "
            "every 10 s and keeps it for a week; above this number it aggregates the oldest "
            "samples by the hour earlier. 0: no samples."
        ),
    ] = 3_600_000
    keep_days: Annotated[
        Days,
        about(
            "Days after its end until the server deletes a task with its outputs, logs and "
            "record. Daily counts are kept. 0: never."
        ),
    ] = 0
    time_zone: Annotated[ZoneInfo, about("Time zone for daily statistics.")] = ZoneInfo("UTC")
    min_free_mb: Annotated[
        Count, about("Free disk space, in MiB, below which the server accepts no more tasks.")
    ] = 512


VolumeName = Annotated[str, Meta(pattern=f"^{volumes.PATTERN}$", max_length=volumes.MAX_NAME)]


class VolumeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[volumes.NAME]`"""

    path: Path
    mode: Literal["ro", "rw"] = "ro"
    users: tuple[Text, ...] = ()
    max_gb: Count = 0
    """GiB; 0: no limit."""


class EnvironmentSettings(msgspec.Struct, frozen=True):
    """`[environments]`"""

    uv: Annotated[
        Path | None,
        about(
            "Path of the uv executable.",
            default="the uv installed with FetchML, else the first on `PATH`",
        ),
    ] = None
    index_url: Annotated[
        Text | None,
        about(
            "Package index for builds, including a user name and password if it requires them. "
            "Packages that are built from source can read these.",
            default="uv's own default, the public index of Python packages",
        ),
    ] = None
    find_links: Annotated[
        Text | None,
        about(
            "Host directory or URL with additional packages. Without a network (`[tasks] network "
            '= "none"`) it is the only source.',
            default="none",
        ),
    ] = None
    certificates: Annotated[
        Path | None,
        about(
            "PEM file with the certificate authorities that builds trust, for a private index.",
            default="the server's environment variable `SSL_CERT_FILE`, else uv's own list",
        ),
    ] = None
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 60)],
        about(
            "Maximum size of environments and uv's caches, in bytes. The least recently used are "
            "removed first. Environments in use are never removed."
        ),
    ] = 50 * 1024 * 1024 * 1024
    cpu: Annotated[AtLeastOne, about("Maximum number of CPU cores for a build in a container.")] = 2
    memory_gb: Annotated[AtLeastOne, about("Memory limit, in GiB, for a build in a container.")] = 4
    timeout_seconds: Annotated[AtLeastOne, about("Time limit for a build, in seconds.")] = 1800


class JupyterSettings(msgspec.Struct, frozen=True):
    """`[jupyter]`"""

    root: Annotated[
        Path | None,
        about(
            "Directory for the workspaces of all Jupyter services.",
            default="`jupyter` in the data directory, or in `[slurm] shared_dir`",
        ),
    ] = None
    shared: Annotated[
        tuple[Text, ...],
        about(
            "Patterns of shared workspaces, in which every user may start services. Every other "
            "workspace belongs to the user who first used its name. With `[auth] private` no "
            "workspace is shared."
        ),
    ] = ("shared/*",)
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without activity after which the server stops a Jupyter service, with a "
            "warning first. 0: never."
        ),
    ] = 14_400
    images: Annotated[
        dict[Text, Text],
        about(
            "Aliases for images: a table from the name in a request to the image. Names without "
            "an entry are used as the image.",
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    command: Annotated[
        tuple[Text, ...],
        Meta(min_length=1),
        about(
            "Command that starts JupyterLab without a container: a program on the server's `PATH` "
            "or next to its Python, and its first arguments. With `--launcher slurm`, a program "
            "on the nodes. Containers run the `jupyter` of their image."
        ),
    ] = ("jupyter-lab",)
    domain: Annotated[
        Domain | None,
        about(
            "Serve each Jupyter service at its own origin: `*.HOST` serves it at `<id>.HOST` on "
            "the server's port. Requires a wildcard DNS record and, with TLS, a certificate for "
            "`*.HOST`. For local use, `*.localhost` requires neither.",
            default="all services share the server's origin",
        ),
    ] = None
    http: Annotated[
        Address | None,
        about(
            "Address of a second listener that serves only Jupyter services, so that their "
            "scripts cannot use the page's session. For servers without a wildcard domain. Not "
            "supported behind a proxy that adds TLS.",
            default="none",
        ),
    ] = None


class AccessSettings(msgspec.Struct, frozen=True):
    """`[access]`"""

    enabled: Annotated[
        bool,
        about(
            "Allow owners of running tasks, and admins, to run commands in them and reach their "
            "ports."
        ),
    ] = True
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without input or output after which the server ends a session in a task. 0: "
            "never."
        ),
    ] = 3600
    max_seconds: Annotated[
        Count, about("Maximum duration of a session in a task, in seconds. 0: no limit.")
    ] = 43_200


class NotificationSettings(msgspec.Struct, frozen=True):
    """`[notifications]`"""

    enabled: Annotated[bool, about("Send webhooks, and accept `notify` in requests.")] = True
    urls: Annotated[
        tuple[Text, ...],
        about(
            "Webhook URLs for tasks for which neither the request nor the user's settings name one."
        ),
    ] = ()
    apprise: Annotated[
        tuple[Text, ...],
        about(
            "Apprise URLs (`fetchml[notify]`) of mail, Slack and other services. They receive a "
            "text message whenever `urls` receive a webhook."
        ),
    ] = ()
    on: Annotated[
        tuple[EventKind, ...],
        about(
            "Events to send to `urls` and `apprise`: `started`, `completed`, `failed`, "
            "`preempted`, `idle`."
        ),
    ] = (EventKind.FAILED,)
    allow_private: Annotated[bool, about("Also send to private networks and to this host.")] = False
    allow_hosts: Annotated[
        tuple[Text, ...],
        about("Hosts that are allowed whatever their address. Spell them as in the URL."),
    ] = ()
    timeout_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=60)],
        about("Seconds to wait for the receiver's response."),
    ] = 10
    retry_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=3600)],
        about(
            "Delay before the first retry of a failed delivery, in seconds. It doubles with each "
            "failure, up to an hour; each delay is shortened by a random part of up to half."
        ),
    ] = 5
    user_messages: Annotated[
        Annotated[int, Meta(ge=1, le=2000)],
        about(
            "Maximum number of pending messages and dead letters per user. The oldest are dropped "
            "first."
        ),
    ] = 1000


class TrackingSettings(msgspec.Struct, frozen=True):
    """`[tracking]`"""

    enabled: Annotated[
        bool,
        about(
            "Give tasks the variables with which MLflow logs to this server, and read the metrics "
            "in their outputs."
        ),
    ] = True


class SlurmSettings(msgspec.Struct, frozen=True):
    """`[slurm]`"""

    transport: Annotated[
        Literal["rest", "cli"],
        about(
            "How to reach Slurm. `cli`: through its commands (`sbatch`, `squeue`, `scancel`, "
            "`scontrol`, `sinfo`). `rest`: through slurmrestd, which is faster."
        ),
    ] = "cli"
    ssh: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*\Z", max_length=255)] | None,
        about(
            "Host that runs Slurm's commands, as an argument of `ssh`, for the transport `cli`. "
            "OpenSSH must connect without a prompt.",
            default="none: this host",
        ),
    ] = None
    url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+/?$")],
        about("URL of slurmrestd."),
    ] = "http://127.0.0.1:6820"
    token_file: Annotated[
        Path | None,
        about(
            "File with a slurmrestd token (JWT) for the server's user. The server reads it for "
            "each request, so another program can renew the token.",
            default="none",
        ),
    ] = None
    jwt_key: Annotated[
        Path | None,
        about(
            "File with Slurm's JWT key, with which the server signs tokens itself. Any account "
            "that can read it can act as every user of the cluster: prefer `token_file`.",
            default="none",
        ),
    ] = None
    shared_dir: Annotated[
        Path | None,
        about(
            "Directory for this server alone, at the same path on all nodes. It holds attempts, "
            "logs, outputs and fetched datasets. Required.",
            default="none",
        ),
    ] = None
    partition: Annotated[
        Text | None, about("Partition for jobs.", default="the cluster's default")
    ] = None
    account: Annotated[
        Text | None, about("Slurm account for jobs.", default="the user's default")
    ] = None
    qos: Annotated[
        Text | None, about("Quality of service for jobs.", default="the account's default")
    ] = None
    constraint: Annotated[
        Text | None, about("Required node features, as for `sbatch --constraint`.", default="none")
    ] = None
    reservation: Annotated[Text | None, about("Slurm reservation for jobs.", default="none")] = None
    container: Annotated[
        Literal["none", "podman", "apptainer", "pyxis"],
        about(
            "Container runtime for a task's `image` on the nodes. `pyxis` is a Slurm plugin. "
            "`none`: tasks are plain processes of the server's account, and `image` is ignored."
        ),
    ] = "none"
    allow: Annotated[
        tuple[Text, ...],
        about(
            "Parameters that requests may set in the field `slurm`: `partition`, `account`, "
            "`qos`, `constraint`, `reservation`, `gres`, `nice`, `exclusive`, `nodelist`, "
            "`exclude`, `licenses`. `NAME=VALUE` allows only that value. GPU fractions, which no "
            "quota counts, require `gres=shard` or `gres=mps` in addition to `gres`."
        ),
    ] = ()
    users: Annotated[
        dict[Text, dict[Text, Text]],
        about(
            "Job parameters per user: a table `[slurm.users.NAME]` for the FetchML user NAME. "
            "They override the general ones; parameters in the request override both. `user` is "
            "the cluster account that runs the user's jobs; `token_file` holds its token, for the "
            'transport `rest` without `jwt_key`. In the environment: `"NAME.account=VALUE '
            'NAME.qos=VALUE"`.',
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    unmapped: Annotated[
        Literal["service", "refuse"],
        about(
            "What to do for users without a `user` in `[slurm.users.NAME]`. `service`: run their "
            "jobs as the server's account. `refuse`: reject their submits."
        ),
    ] = "service"
    become: Annotated[
        Literal["auto", "sudo", "ssh", "setuid"],
        about(
            "How to run Slurm's commands as other accounts, for the transport `cli`. `sudo`: with "
            "`sudo -n -u USER`, also on the host in `ssh`. `ssh`: with `ssh USER@HOST`. `setuid`: "
            "the server, which must be root, switches to the account. `auto`: `setuid` if root, "
            "else `sudo`."
        ),
    ] = "auto"
    relay_ports: Annotated[
        Annotated[str, Meta(pattern=r"^(0-0|[1-9][0-9]{3,4}-[1-9][0-9]{3,4})\Z")],
        about(
            "Range of node ports for connections from the server: Jupyter services, `fetchml "
            "exec`, the shell, and ports of tasks. Example: `40000-40999`. Each such task uses "
            "one port of its node. `0-0`: any port."
        ),
    ] = "0-0"
    max_pending: Annotated[
        AtLeastOne,
        about(
            "Maximum number of this server's tasks that are pending in Slurm. Further tasks wait "
            "in the server's own queue."
        ),
    ] = 1000
    user_max_pending: Annotated[
        AtLeastOne, about("Maximum number of tasks per user that are pending in Slurm.")
    ] = 500
    lost_after: Annotated[
        Count,
        about(
            "Seconds after which a started task counts as lost, and is retried, if Slurm no "
            "longer reports its job. The task may still be running on a disconnected node. 0: "
            "never; such a task can be cancelled."
        ),
    ] = 0
    lease_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=86_400)],
        about(
            "Seconds that a task may run while its node cannot write to the shared directory. "
            "Then the node ends the task. If Slurm does not reach the node either, the server "
            "declares the task lost and retries it once the lease has not been renewed for twice "
            "this time. 0: no leases; such a task keeps running, and the server never starts it a "
            "second time on its own."
        ),
    ] = 0
    allow_root: Annotated[
        bool, about("Allow a server that runs as root to run tasks on the nodes, as root.")
    ] = False


class Settings(msgspec.Struct, frozen=True):
    data_dir: Annotated[
        Path,
        about(
            "Directory for everything that the server stores. One server per data directory.",
            default="`/var/lib/fetchml` if root or its owner runs the server, else "
            "`$XDG_STATE_HOME/fetchml` or `~/.local/state/fetchml`",
        ),
    ] = msgspec.field(default_factory=default_data_dir)
    volumes: Annotated[
        dict[VolumeName, VolumeSettings],
        about(
            "Host directories that tasks may mount. Each is a table `[volumes.NAME]` with `path`, "
            "`mode` (`ro` or `rw`), `users` and `max_gb` ([volumes](volumes.md)).",
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
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
    environments: EnvironmentSettings = EnvironmentSettings()
    jupyter: JupyterSettings = msgspec.field(default_factory=JupyterSettings)
    access: AccessSettings = AccessSettings()
    notifications: NotificationSettings = NotificationSettings()
    tracking: TrackingSettings = TrackingSettings()
    history: HistorySettings = HistorySettings()
    slurm: SlurmSettings = msgspec.field(default_factory=SlurmSettings)


class Setting(msgspec.Struct, frozen=True):
    """One setting, for the loader and the documentation."""

    table: str
    """Empty if the setting is at the top of the file."""
    name: str
    type: Any
    about: str
    default: str
    """As Markdown: in TOML, or in words if it depends on the host."""

    @property
    def is_tables(self) -> bool:
        """Whether it is a table of tables, such as `[volumes.NAME]`."""
        kind, *_ = get_args(self.type)
        types = get_args(kind) if get_origin(kind) is dict else ()
        return bool(types) and isinstance(types[1], type) and issubclass(types[1], msgspec.Struct)

    @property
    def variable(self) -> str:
        """The environment variable. For [server] its name leaves the table out. Empty for tables
        of tables, which only the file can have."""
        if self.is_tables:
            return ""
        parts = [self.name] if self.table in {"", "server"} else [self.table, self.name]
        return "_".join(["FETCHML", *parts]).upper()

    def __str__(self) -> str:
        return f"[{self.table}] {self.name}" if self.table else self.name


def all_settings() -> Iterator[Setting]:
    """Yield every setting, in the order of their definition."""
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
