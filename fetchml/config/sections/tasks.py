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
