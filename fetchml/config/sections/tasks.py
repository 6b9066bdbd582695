"""Settings of the environment and of the limits of every task."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fetchml.config.sections.types import AtLeastOne, Count, Days, Text, about
from fetchml.core.requests import images
from fetchml.system import host


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
