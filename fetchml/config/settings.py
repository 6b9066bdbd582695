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

    http: Annotated[Address, about("Address of REST, `/ws` and Jupyter services.")] = Address(
        "127.0.0.1", 9101
    )
    grpc: Annotated[Address, about("Address of gRPC.")] = Address("127.0.0.1", 9102)
    public_url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+/?$")] | None,
        about(
            "URL at which browsers reach `http` if it is not the address itself, as behind a "
            "proxy: `https://HOST` or `http://HOST:PORT`.",
            default="the address itself, or the host's name if that is every address",
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[Network, ...],
        about(
            "Addresses or networks of proxies in front of this server. The audit, and the limits "
            "on callers without a key, take the client's address from their X-Forwarded-For."
        ),
    ] = ()
    max_connections: Annotated[
        AtLeastOne,
        about(
            "Most open connections to `http`, and as many to `grpc`. One address may hold a "
            "fourth of each; a trusted proxy, and this host itself, three fourths."
        ),
    ] = MAX_CONNECTIONS
    tls_cert: Annotated[
        Path | None,
        about(
            "Certificate of both ports, in PEM, followed by the intermediate certificates. Loaded "
            "again when it changes.",
            default="none: no TLS",
        ),
    ] = None
    tls_key: Annotated[
        Path | None, about("Private key of `tls_cert`, in PEM.", default="none: no TLS")
    ] = None
    launcher: Annotated[
        Literal["docker", "process", "slurm"],
        about(
            "How tasks run. `docker`: in hardened containers. `process`: as plain child "
            "processes, without any isolation. `slurm`: as jobs of a Slurm cluster."
        ),
    ] = "docker"
    log_format: Annotated[
        Literal["text", "json"],
        about("Format of the log on stderr: lines for people, or JSON objects."),
    ] = "text"


class AuthSettings(msgspec.Struct, frozen=True):
    """`[auth]`"""

    private: Annotated[
        bool,
        about(
            "Users see only their own tasks, snapshots, experiments and Jupyter services; admins "
            "see all."
        ),
    ] = False


class RateLimitSettings(msgspec.Struct, frozen=True):
    """`[rate_limit]`"""

    enabled: Annotated[bool, about("Limit the requests of each key.")] = True
    per_second: Annotated[
        AtLeastOne, about("Requests per second that a key may make in the long run.")
    ] = 1000
    burst: Annotated[AtLeastOne, about("Requests that a key may make at once after a pause.")] = (
        5000
    )


def default_max_running() -> int:
    return max(4, host.cores())


class TaskSettings(msgspec.Struct, frozen=True):
    """`[tasks]`"""

    image: Annotated[Text, about("Image of a task that names none.")] = "python:3.12-slim"
    command: Annotated[
        tuple[Text, ...],
        Meta(min_length=1),
        about("Command of a task that names none. It runs in the task's workspace."),
    ] = ("python", "train.py")
    timeout_seconds: Annotated[
        Count, about("Time limit, in seconds, of a task that requests none. 0: no limit.")
    ] = 0
    max_timeout_seconds: Annotated[
        Count,
        about(
            "Longest time limit, in seconds, that a task may have. It also applies to a task "
            "without a limit. 0: no maximum."
        ),
    ] = 0
    cpu: Annotated[
        Count, about("CPU cores of a task that requests none. 0: no cores are reserved for it.")
    ] = 0
    max_cpu: Annotated[
        Count, about("Most CPU cores that a task may request. 0: up to `[resources] cpu`.")
    ] = 0
    memory_gb: Annotated[
        Count,
        about("Memory, in GiB, of a task that requests none. 0: no memory is reserved for it."),
    ] = 0
    max_memory_gb: Annotated[
        Count,
        about(
            "Most memory, in GiB, that a task may request, and the memory limit of a container "
            "whose task requests none. 0: `[resources] memory_gb`."
        ),
    ] = 0
    pids: Annotated[
        Annotated[int, Meta(ge=16, le=1 << 22)],
        about("Most processes and threads in a task's container."),
    ] = 4096
    tmp_mb: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 24)],
        about("Size of `/tmp` in a container, in MiB. Files there count as the task's memory."),
    ] = 1024
    shm_mb: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 24)],
        about(
            "Size of `/dev/shm` in a container, in MiB, where data loaders exchange batches. "
            "Files there count as the task's memory."
        ),
    ] = 1024
    max_retries: Annotated[Count, about("Retries of a task that requests none.")] = 0
    log_bytes: Annotated[
        Annotated[int, Meta(ge=128 * 1024, le=1 << 40)],
        about(
            "Most bytes that are kept of each attempt's output. The oldest bytes are dropped first."
        ),
    ] = 64 * 1024 * 1024
    outputs_files: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        about(
            "Most files and folders that are kept of a task's outputs. Others are removed, and "
            "the task's note gives their number. A list of outputs shows 10,000 files."
        ),
    ] = 10_000
    outputs_mb: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 30)],
        about(
            "Most MiB that are kept of a task's outputs. The rest is removed, as above. 0: no "
            "limit."
        ),
    ] = 102_400
    outputs_keep_days: Annotated[
        Days,
        about("Days after a task's end when its outputs are removed. 0: never."),
    ] = 0
    reserve_after: Annotated[
        Count,
        about(
            "Seconds for which smaller tasks may pass a large one that waits. After that, "
            "resources that become free are reserved for it."
        ),
    ] = 600
    allow_images: Annotated[
        tuple[Text, ...],
        about(
            "Patterns of the images that tasks and Jupyter services may name: `python`, "
            "`python:3.*`, `ghcr.io/acme/*`. Paths of images, which some clusters run, are allowed "
            "by patterns that begin with `/` only: `/shared/images/*`. The default image and "
            "`[jupyter] images` are always allowed."
        ),
    ] = images.ANY
    pull: Annotated[
        Literal["missing", "always", "never"],
        about(
            "When an image is pulled. `missing`: if this host does not have it. `always`: before "
            "each task, to run the registry's newest. `never`: tasks run only the images that "
            "this host has."
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
            "Docker network of the tasks. `fetchml`: a network of the server's own, in which "
            "containers cannot reach each other. `none`: no network."
        ),
    ] = "fetchml"
    allow_metadata: Annotated[
        bool,
        about(
            "Let containers on the network `fetchml` use the cloud's metadata service, and with it "
            "the credentials of this host's role."
        ),
    ] = False
    user: Annotated[
        Annotated[str, Meta(pattern=r"^(auto|image|[0-9]+:[0-9]+)$")],
        about(
            "User of a task in its container. `auto`: a uid of its own for each user, from "
            "`first_uid` on; the server's own where the server is neither root nor the service. "
            "`image`: the image's user, root allowed. Else `UID:GID`."
        ),
    ] = "auto"
    first_uid: Annotated[
        Annotated[int, Meta(ge=1000, le=1 << 30)],
        about(
            "First uid of the users' tasks if `user` is `auto`. No account of this host should "
            "have this uid or one of the 100,000 after it."
        ),
    ] = 1_900_000
    max_running: Annotated[
        AtLeastOne,
        about("Most tasks that run at the same time.", default="the number of cores, at least 4"),
    ] = msgspec.field(default_factory=default_max_running)
    grace_seconds: Annotated[
        Count,
        about(
            "Seconds from SIGTERM to SIGKILL when a task is cancelled or exceeds its time limit."
        ),
    ] = 10


def memory_for_tasks_gb() -> int:
    """The host's memory but an eighth, at most 8 GiB, which its other processes keep."""
    total = host.memory_mb()
    return max(1, total - min(total // 8, 8192) >> 10)


class ResourceSettings(msgspec.Struct, frozen=True):
    """`[resources]`"""

    cpu: Annotated[
        Count, about("CPU cores that all tasks together may hold.", default="all of the host")
    ] = msgspec.field(default_factory=host.cores)
    memory_gb: Annotated[
        Count,
        about(
            "Memory, in GiB, that all tasks together may hold, and the memory limit of a "
            "container whose task requests none.",
            default="all of the host but an eighth, or but 8 GiB if that is less",
        ),
    ] = msgspec.field(default_factory=memory_for_tasks_gb)


class GpuSettings(msgspec.Struct, frozen=True):
    """`[gpu]`"""

    slots: Annotated[
        Count,
        about(
            "Number of plain GPU slots. They are only counted: no device is passed to a task. 0: "
            "the GPUs that NVIDIA's driver reports, each passed to the tasks that hold it."
        ),
    ] = 0
    slots_per_gpu: Annotated[AtLeastOne, about("Tasks that may share a GPU. 1: no sharing.")] = 1
    packing: Annotated[
        bool,
        about(
            "Let tasks share a GPU only if its memory is enough for what their jobs needed so far. "
            "A job that is not known yet gets a GPU of its own. Needs `slots_per_gpu` above 1."
        ),
    ] = False
    packing_margin_percent: Annotated[
        Percent, about("Percentage of a GPU's memory that `packing` leaves free.")
    ] = 10
    placement: Annotated[
        Literal["fill", "spread"],
        about(
            "How GPUs are chosen for a task. `fill`: adjacent GPUs in the smallest gap that fits, "
            "and the fullest of shared ones. `spread`: the emptiest GPUs, far from those in use."
        ),
    ] = "fill"
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without use of its GPUs after which a running task is idle. 0: idle GPUs are "
            "not looked for."
        ),
    ] = 1800
    idle_percent: Annotated[
        Percent, about("A GPU that computes for a smaller percentage of the time is not used.")
    ] = 5
    idle_start_seconds: Annotated[
        Count, about("First seconds of an attempt, which do not count as idle.")
    ] = 600
    idle_action: Annotated[
        Literal["report", "stop"],
        about(
            "What happens to an idle task. `report`: it is marked. `stop`: it is also stopped "
            "if it stays idle for `idle_warning_seconds`, and fails."
        ),
    ] = "report"
    idle_warning_seconds: Annotated[
        Count, about("Seconds between the report of an idle task and its stop.")
    ] = 600
    may_idle: Annotated[
        bool, about("Accept tasks with `may_idle`, which are never idle, whatever they use.")
    ] = False


class SchedulingSettings(msgspec.Struct, frozen=True):
    """`[scheduling]`"""

    ahead: Annotated[
        bool,
        about(
            "Prestage the tasks that would start next: their containers start while they wait, "
            "with the command held at a gate."
        ),
    ] = True
    half_life: Annotated[
        Count,
        about(
            "Seconds after which past usage counts half. Among tasks of the same priority, the "
            "user with less usage goes first. 0: usage never decays."
        ),
    ] = 86_400
    preemption: Annotated[
        bool,
        about(
            "Stop `preemptible` tasks if that lets a more urgent task start. They are queued "
            "again; those with a checkpoint go on from it."
        ),
    ] = False


class QuotaSettings(msgspec.Struct, frozen=True):
    """`[quotas]`"""

    user_gpus: Annotated[
        Count, about("Most GPUs that one user's tasks may hold together. 0: no limit.")
    ] = 0
    user_running: Annotated[
        Count, about("Most tasks of one user that run at the same time. 0: no limit.")
    ] = 0
    user_queued: Annotated[
        Count, about("Most tasks of one user that wait at the same time. 0: no limit.")
    ] = 100_000
    user_queued_mb: Annotated[
        Count,
        about(
            "Most memory of the server, in MiB, for one user's tasks while they wait or run. 0: "
            "no limit, so that one user can fill the queue."
        ),
    ] = 160

    user_storage_gb: Annotated[
        Count | None,
        about(
            "Most disk space, in GiB, for one user's files: snapshots, outputs, logs, Jupyter "
            "workspaces, and what running tasks write. Above it, submits and uploads of the user "
            "are rejected, and running tasks that write more than that are stopped. 0: no limit.",
            default="a fifth of the data directory's disk, at least 1",
        ),
    ] = None


class DatasetSettings(msgspec.Struct, frozen=True):
    """`[datasets]`"""

    root: Annotated[
        Path | None,
        about(
            "Folder whose subfolders are the datasets that tasks may name.",
            default="none: tasks can name no datasets",
        ),
    ] = None
    allow: Annotated[
        tuple[Text, ...],
        about(
            "Schemes that the source of a dataset may have. `file`: paths below `root`. Schemes "
            "other than `http` and `https`, such as `s3`, need an installed fsspec that reads "
            "them."
        ),
    ] = dataset.SCHEMES
    allow_private: Annotated[
        bool, about("Also fetch from private networks and from this host.")
    ] = False
    allow_hosts: Annotated[
        tuple[Text, ...],
        about("Host names, as sources spell them, that may have any address."),
    ] = ()
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 60)],
        about(
            "Most bytes of fetched datasets that are kept. The least recently used are removed "
            "first."
        ),
    ] = 50 * 1024 * 1024 * 1024


class SnapshotSettings(msgspec.Struct, frozen=True):
    """`[snapshots]`"""

    max_bytes: Annotated[
        Annotated[int, Meta(ge=1, le=1 << 40)],
        about("Largest snapshot, in bytes, packed or unpacked."),
    ] = 2 * 1024 * 1024 * 1024
    max_files: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)],
        about("Most files and folders in a snapshot."),
    ] = 100_000
    keep_days: Annotated[
        Annotated[int, Meta(ge=1, le=36_500)],
        about(
            "Days after its last use when a snapshot is removed, unless a live task or an "
            "experiment names it."
        ),
    ] = 30


class HistorySettings(msgspec.Struct, frozen=True):
    """`[history]`"""

    journal_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        about("Changes that are kept, so that watchers can resume after a disconnect."),
    ] = 200_000
    audit_rows: Annotated[
        Annotated[int, Meta(ge=1000, le=100_000_000)],
        about("Audit entries that are kept, besides those of tasks themselves."),
    ] = 100_000
    usage_rows: Annotated[
        Annotated[int, Meta(ge=0, le=100_000_000)],
        about(
            "Samples of what tasks and GPUs use, one of each every 10 s, that are kept for a week; "
            "beyond this number the oldest are summed up by the hour sooner. 0: no samples."
        ),
    ] = 3_600_000
    keep_days: Annotated[
        Days,
        about(
            "Days after its end when a task is removed, with its outputs, logs and row. The daily "
            "counts stay. 0: never."
        ),
    ] = 0
    time_zone: Annotated[
        ZoneInfo, about("Time zone in which the days of the statistics begin.")
    ] = ZoneInfo("UTC")
    min_free_mb: Annotated[
        Count, about("Free disk space, in MiB, below which no more tasks are accepted.")
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
            "Path of the program uv.",
            default="the uv that was installed with FetchML, else the first on `PATH`",
        ),
    ] = None
    index_url: Annotated[
        Text | None,
        about(
            "Package index that builds use, with a name and password if it needs them: code of "
            "packages that are built can read them.",
            default="uv's own default, the public index of Python packages",
        ),
    ] = None
    find_links: Annotated[
        Text | None,
        about(
            "Folder of this host, or URL, with more packages. Without a network (`[tasks] network "
            '= "none"`) it is the only source.',
            default="none",
        ),
    ] = None
    certificates: Annotated[
        Path | None,
        about(
            "File (PEM) of the certificate authorities that builds trust, for an index of your "
            "own.",
            default="the server's variable `SSL_CERT_FILE`, else those that uv brings",
        ),
    ] = None
    cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=1 << 60)],
        about(
            "Most bytes of environments, and of uv's caches, that are kept. The least recently "
            "used are removed first, and none that a task uses."
        ),
    ] = 50 * 1024 * 1024 * 1024
    cpu: Annotated[AtLeastOne, about("Most CPU cores of a build in a container.")] = 2
    memory_gb: Annotated[AtLeastOne, about("Memory limit of a build in a container, in GiB.")] = 4
    timeout_seconds: Annotated[AtLeastOne, about("Time limit of a build, in seconds.")] = 1800


class JupyterSettings(msgspec.Struct, frozen=True):
    """`[jupyter]`"""

    root: Annotated[
        Path | None,
        about(
            "Folder of the workspaces of all Jupyter services.",
            default="the folder `jupyter` of the data directory, or of `[slurm] shared_dir`",
        ),
    ] = None
    shared: Annotated[
        tuple[Text, ...],
        about(
            "Patterns of the workspaces in which every user may start services. Any other one "
            "belongs to the user who named it first. With `[auth] private` none is shared."
        ),
    ] = ("shared/*",)
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without activity after which a Jupyter service is stopped, with a warning "
            "before. 0: never."
        ),
    ] = 14_400
    images: Annotated[
        dict[Text, Text],
        about(
            "Names that requests may give for an image, each with the image that runs. A name "
            "that is not listed runs as it is.",
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    command: Annotated[
        tuple[Text, ...],
        Meta(min_length=1),
        about(
            "Command that starts JupyterLab with `--launcher process`: a program on the server's "
            "`PATH` or beside its Python, and its first arguments. With `--launcher slurm` it is "
            "a program of the nodes. Containers run the `jupyter` of their image."
        ),
    ] = ("jupyter-lab",)
    domain: Annotated[
        Domain | None,
        about(
            "Serve each Jupyter service at an origin of its own: with `*.HOST`, at `<id>.HOST` on "
            "the server's own port. This needs a wildcard DNS entry and, with TLS, a certificate "
            "for `*.HOST`; on this host `*.localhost` needs neither.",
            default="all services share the server's address",
        ),
    ] = None
    http: Annotated[
        Address | None,
        about(
            "Address of a second listener, which serves Jupyter services and nothing else: their "
            "scripts then cannot use the session of the page. For a server without a domain of "
            "its own; not behind a proxy that adds TLS.",
            default="none",
        ),
    ] = None


class AccessSettings(msgspec.Struct, frozen=True):
    """`[access]`"""

    enabled: Annotated[
        bool,
        about(
            "Owners of running tasks, and admins, may run commands in them and reach their ports."
        ),
    ] = True
    idle_seconds: Annotated[
        Count,
        about(
            "Seconds without input and output after which a session in a task is ended. 0: never."
        ),
    ] = 3600
    max_seconds: Annotated[
        Count, about("Seconds after which a session in a task is ended in any case. 0: never.")
    ] = 43_200


class NotificationSettings(msgspec.Struct, frozen=True):
    """`[notifications]`"""

    enabled: Annotated[bool, about("Send webhooks, and accept `notify` in requests.")] = True
    urls: Annotated[
        tuple[Text, ...],
        about(
            "Addresses that get webhooks of the tasks for which neither the request nor its user "
            "names any."
        ),
    ] = ()
    apprise: Annotated[
        tuple[Text, ...],
        about(
            "Addresses of mail, Slack and other services, in the form of the library Apprise "
            "(`fetchml[notify]`), which get a text where `urls` get a webhook."
        ),
    ] = ()
    on: Annotated[
        tuple[EventKind, ...],
        about(
            "The events of `urls` and `apprise`: `started`, `completed`, `failed`, `preempted`, "
            "`idle`."
        ),
    ] = (EventKind.FAILED,)
    allow_private: Annotated[bool, about("Also send to private networks and to this host.")] = False
    allow_hosts: Annotated[
        tuple[Text, ...],
        about("Host names, as URLs spell them, that may have any address."),
    ] = ()
    timeout_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=60)],
        about("Seconds in which a receiver has to answer."),
    ] = 10
    retry_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=3600)],
        about(
            "Seconds after which a message that was not delivered is sent again, or up to a half "
            "less; doubled at each failure, up to an hour."
        ),
    ] = 5
    user_messages: Annotated[
        Annotated[int, Meta(ge=1, le=2000)],
        about("Most messages of a user that wait or are dead letters. The oldest ones go."),
    ] = 1000


class SlurmSettings(msgspec.Struct, frozen=True):
    """`[slurm]`"""

    transport: Annotated[
        Literal["rest", "cli"],
        about(
            "How Slurm is reached. `cli`: by its commands (`sbatch`, `squeue`, `scancel`, "
            "`scontrol`, `sinfo`). `rest`: by slurmrestd, which is faster."
        ),
    ] = "cli"
    ssh: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*\Z", max_length=255)] | None,
        about(
            "Host on which Slurm's commands run, as `ssh` names it, for the transport `cli`. "
            "OpenSSH must reach it without a question.",
            default="none: this host",
        ),
    ] = None
    url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+/?$")],
        about("Address of slurmrestd."),
    ] = "http://127.0.0.1:6820"
    token_file: Annotated[
        Path | None,
        about(
            "File with a token (JWT) of the server's user for slurmrestd. Read for each request, "
            "so that another program can keep it fresh.",
            default="none",
        ),
    ] = None
    jwt_key: Annotated[
        Path | None,
        about(
            "File with Slurm's own key for tokens, from which the server makes them. Any account "
            "that can read it can act as every user of the cluster: prefer `token_file`.",
            default="none",
        ),
    ] = None
    shared_dir: Annotated[
        Path | None,
        about(
            "Folder of this server alone that all nodes see under the same path. Attempts, logs, "
            "outputs and fetched datasets are in it. Required.",
            default="none",
        ),
    ] = None
    partition: Annotated[
        Text | None, about("Partition of the jobs.", default="the cluster's default")
    ] = None
    account: Annotated[Text | None, about("Account of the jobs.", default="the user's default")] = (
        None
    )
    qos: Annotated[
        Text | None, about("Quality of service of the jobs.", default="the account's default")
    ] = None
    constraint: Annotated[
        Text | None, about("Features that the nodes must have, as for `sbatch`.", default="none")
    ] = None
    reservation: Annotated[Text | None, about("Reservation of the jobs.", default="none")] = None
    container: Annotated[
        Literal["none", "podman", "apptainer", "pyxis"],
        about(
            "Program that runs a task's `image` on a node. `pyxis` is a plugin of Slurm. `none`: "
            "tasks are plain processes of the server's account and `image` is ignored."
        ),
    ] = "none"
    allow: Annotated[
        tuple[Text, ...],
        about(
            "Parameters that a request may set in its field `slurm`: `partition`, `account`, "
            "`qos`, `constraint`, `reservation`, `gres`, `nice`, `exclusive`, `nodelist`, "
            "`exclude`, `licenses`. `NAME=VALUE` allows that value only. Parts of GPUs, which no "
            "quota counts, need `gres=shard` or `gres=mps` beside `gres`."
        ),
    ] = ()
    users: Annotated[
        dict[Text, dict[Text, Text]],
        about(
            "Parameters of the jobs of one user, by the user's name in FetchML, as a table "
            "`[slurm.users.NAME]`. They go before those of all, and the request's before both. "
            "`user` is the account of the cluster that the user's jobs belong to, and `token_file` "
            "the file with its token, for the transport `rest` without `jwt_key`. In "
            'the environment: `"NAME.account=VALUE NAME.qos=VALUE"`.',
            default="none",
        ),
    ] = msgspec.field(default_factory=dict)
    unmapped: Annotated[
        Literal["service", "refuse"],
        about(
            "Users without a `user` in `[slurm.users.NAME]`. `service`: their jobs run "
            "as the server's account. `refuse`: their submits are refused."
        ),
    ] = "service"
    become: Annotated[
        Literal["auto", "sudo", "ssh", "setuid"],
        about(
            "How Slurm's commands run as the accounts of users, for the transport `cli`. `sudo`: "
            "by `sudo -n -u USER`, also on the host of `ssh`. `ssh`: by `ssh USER@HOST`. "
            "`setuid`: the server, which must be root, becomes the account. `auto`: `setuid` for "
            "root, else `sudo`."
        ),
    ] = "auto"
    relay_ports: Annotated[
        Annotated[str, Meta(pattern=r"^(0-0|[1-9][0-9]{3,4}-[1-9][0-9]{3,4})\Z")],
        about(
            "Ports of nodes to which the server connects for Jupyter services, `fetchml exec`, the "
            "shell and ports of tasks, as `40000-40999`. One for each such task of a node. `0-0`: "
            "any port."
        ),
    ] = "0-0"
    max_pending: Annotated[
        AtLeastOne,
        about(
            "Most tasks that Slurm holds pending for this server. Others wait in the server's own "
            "queue."
        ),
    ] = 1000
    user_max_pending: Annotated[
        AtLeastOne, about("Most tasks of one user that Slurm holds pending.")
    ] = 500
    lost_after: Annotated[
        Count,
        about(
            "Seconds after which a task that has started, and whose job Slurm lost sight of, "
            "counts as lost and is retried. It may still run on a node that is cut off. 0: never; "
            "it can be cancelled."
        ),
    ] = 0
    lease_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=86_400)],
        about(
            "Seconds that a task goes on when its node can't write to the shared folder. After "
            "them the node ends it. A task whose node is silent to Slurm too counts as lost, and "
            "is retried, when its lease was not renewed for twice as long. 0: no lease; "
            "such a task goes on, and is never started a second time by itself."
        ),
    ] = 0
    allow_root: Annotated[
        bool, about("Let a server of root run tasks on the nodes: they are root there.")
    ] = False


class Settings(msgspec.Struct, frozen=True):
    data_dir: Annotated[
        Path,
        about(
            "The folder of everything that the server keeps. A data directory belongs to one "
            "server.",
            default="`/var/lib/fetchml` for root and for its owner, else "
            "`$XDG_STATE_HOME/fetchml` or `~/.local/state/fetchml`",
        ),
    ] = msgspec.field(default_factory=default_data_dir)
    volumes: Annotated[
        dict[VolumeName, VolumeSettings],
        about(
            "Folders of this host that tasks may mount, each a table `[volumes.NAME]` with `path`, "
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
