"""The launcher: runs the attempts of tasks.

Life cycle of a launcher:

1. `open` connects to the backend. From then on `on_available` reports whether it takes work.
2. `clean` removes what earlier servers left behind.
3. Any number of attempts run, each through its own life cycle.
4. `close` disconnects. Whatever runs goes on; the next server adopts it.

Life cycle of an attempt:

1. `prepare` creates the attempt up to the shim, which waits at its gate.
2. The engine opens the gate by a file in the attempt's folder, and the shim starts the command.
3. `wait` returns when no process of the attempt is left.
4. `remove` deletes what the launcher created.

`warn`, `stop`, `kill`, `usage` and `enter` may be called at any time between 1 and 4. The server
can crash at any point, so every method may be called again for the same attempt, by the same server
or by the next.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec

Owner = tuple[int, int] | None
"""uid and gid that own a task's files; `None` if only the task's image defines its user."""


INPUTS = "/inputs"
"""Where a container has the outputs of other tasks."""


class Mount(msgspec.Struct, frozen=True):
    source: Path
    target: str
    read_only: bool
    identity: tuple[int, int] | None = None
    """Device and inode of the folder that was checked; `None` if whatever `source` names may be
    mounted."""


class NamedFolder(msgspec.Struct, frozen=True):
    """A folder whose path a task gets in a variable, besides its own three."""

    variable: str
    """Name of the variable that has the folder's path."""
    source: Path
    """A folder, with the owner that the task needs. Without containers the variable names it."""
    target: str
    """Path in a container."""
    read_only: bool = False


class Secrets(msgspec.Struct, frozen=True):
    """Values of secrets. They go to the shim only, by a file in its run folder that it removes
    before it starts the command; never into a command line or a container's configuration."""

    content: bytes
    """The file's content (files/secrets_file.py)."""

    def __repr__(self) -> str:
        return "Secrets(…)"


class LaunchSpec(msgspec.Struct, frozen=True):
    """Everything a launcher needs to start one attempt."""

    task_id: str
    attempt: int
    job_name: str
    folder: Path
    """The attempt's folder: `run/`, `workspace/`, `outputs/` (see shim/README.md)."""
    image: str
    argv: tuple[str, ...]
    env: dict[str, str]
    """The task's environment, without the paths of its three places."""
    owner: Owner | Literal["launcher"] = "launcher"
    """Owner of the task's files, and the user it runs as if the launcher can choose; "launcher"
    means the launcher's own `owner`."""
    inputs: tuple[Mount, ...] = ()
    """Outputs of other tasks, each below INPUTS."""
    datasets: tuple[Mount, ...] = ()
    """A mount whose target is one of the attempt's own places, such as /workspace, replaces it."""
    named_folders: tuple[NamedFolder, ...] = ()
    volumes: tuple[Mount, ...] = ()
    """Folders of the host, each to be mounted at `/volumes/NAME`. Nothing runs if another folder
    than the one with its `identity` was mounted."""
    secrets: Secrets | None = None
    """`None` if the task has none. The shim writes those that are files to `/secrets`
    (FETCHML_SECRETS)."""
    cpu: int = 0
    memory_gb: int = 0
    gpu_ids: tuple[str, ...] = ()
    gpu: int = 0
    """Number of GPUs, for a launcher whose cluster chooses them."""
    priority: int = 5
    """1 to 10, 10 first; for a launcher whose cluster orders the tasks."""
    user: str = ""
    """Name of the task's user."""
    slurm: dict[str, str] = {}
    """Parameters of its job that the request has; for a launcher whose cluster is Slurm."""
    timeout_ms: int = 0
    warn_ms: int = 0
    """SIGUSR1 is sent so long before the time limit; 0: never."""
    grace_ms: int = 10_000
    log_segment_bytes: int = 32 * 1024 * 1024

    @property
    def without_values(self) -> "LaunchSpec":
        """The same without values of secrets, which only `prepare` needs."""
        if self.secrets is None:
            return self
        return msgspec.structs.replace(self, secrets=Secrets(b""))


class ContainerImage(msgspec.Struct, frozen=True):
    """What the name of an image meant when a container was made of it."""

    id: str
    """`sha256:` and 64 hexadecimal digits."""
    digest: str | None
    """`NAME@sha256:…`; `None` for an image that no registry has."""


class AttemptExit(msgspec.Struct, frozen=True):
    """No process of the attempt is left. What the launcher adds to the shim's record."""

    out_of_memory: bool = False
    lost: str | None = None
    """Set if something other than the task ended it: the reason."""
    timed_out: bool = False
    """A time limit of the backend ended it; `lost` has the reason."""
    no_room: bool = False
    """The disk was full when the command was to start, so nothing was claimed and nothing ran."""
    no_image: bool = False
    """The task's image is nowhere, so nothing was claimed and nothing ran (`lost`)."""


class ResourceUse(msgspec.Struct, frozen=True):
    """Resources that an attempt's processes have used since its start, and their memory now."""

    cpu_ms: int
    """Processor time of all cores."""
    memory_kb: int
    """KiB in use now."""
    read_kb: int
    """KiB read from disks."""
    write_kb: int
    """KiB written to disks."""
    at_ms: int | None = None
    """When it was measured, by the clock of the machine that did; `None` if it was just now."""


class SessionCommand(msgspec.Struct, frozen=True):
    """A command beside the task's own."""

    argv: tuple[str, ...]
    terminal: tuple[int, int] | None = None
    """Rows and columns of its terminal; `None` if its streams are pipes."""
    env: Mapping[str, str] = {}
    """Variables in addition to the task's."""


class RelayCommand(msgspec.Struct, frozen=True):
    """A socket in the attempt's run folder that is joined with a TCP port of the task."""

    socket_name: str
    port: int


class EnterError(Exception):
    """The attempt can't be entered. The message is for the user."""


class Helper(Protocol):
    """The shim, run once more within an attempt. Its streams carry frames (shim/README.md)."""

    async def read(self) -> bytes:
        """Return the next bytes; empty once the helper has ended or was closed."""

    async def write(self, data: bytes) -> None:
        """Write, and wait while much is unread. Raises OSError if the helper has ended."""

    async def close(self) -> None:
        """End the helper with every process that it started. May be called again."""


@runtime_checkable
class RemoteRelay(Helper, Protocol):
    """The helper of a RelayCommand on another machine, whose socket this one can't connect to."""

    async def connect(self) -> socket.socket:
        """Return a connection as those of the relay's socket: it begins with a byte of state, and
        never blocks. Raises OSError."""


class PrepareError(Exception):
    """The attempt can't be prepared, and no process was started. The message is for the user."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent
        """A second try would fail the same way (for example, the image does not exist)."""


class Launcher(Protocol):
    """Runs attempts; the module describes the order of the calls."""

    name: str
    owner: Owner
    """Owner of the files of tasks that don't set one."""

    async def open(self, instance_id: str, on_available: Callable[[bool, str], None]) -> None:
        """Connect to the backend, without waiting until it is available.

        `on_available` is called in the event loop with the availability and the reason: first
        during this call, then after every change.
        """

    async def clean(self, live: frozenset[tuple[str, int]]) -> None:
        """Remove what attempts of this server that are not in `live` (task id, attempt) left.

        From then on `owner_of` recognizes the processes of the live ones.
        """

    async def prepare(
        self, spec: LaunchSpec, progress: Callable[[str], None]
    ) -> ContainerImage | None:
        """Create the attempt, with the shim waiting at its gate. Return the image of its container;
        `None` if it has none, or its shim has started already. Raises PrepareError.

        Creates the files in the folder too, with their owner. An attempt that already exists is
        left as it is: the gate is never opened and an exited container never restarted. If the
        backend is unavailable, the call waits for it. `progress` receives short sentences for the
        user. After a cancellation `remove` cleans up everything.
        """

    async def wait(self, spec: LaunchSpec) -> AttemptExit:
        """Return when no process of the attempt is left, also if there never was one.

        Works for attempts that an earlier server prepared, and across restarts of the backend.
        """

    async def stop(self, spec: LaunchSpec) -> None:
        """Send SIGTERM to the shim, which forwards it and kills after the grace period. Does
        nothing if no process is left."""

    async def warn(self, spec: LaunchSpec) -> None:
        """Send SIGUSR1 to the shim, which forwards it. Only after the command has started. Does
        nothing if no process is left."""

    async def kill(self, spec: LaunchSpec) -> None:
        """End all processes of the attempt immediately. Does nothing if none is left."""

    async def usage(self, specs: Sequence[LaunchSpec]) -> list[ResourceUse | None]:
        """Return what each attempt has used so far; `None` where that can't be determined.

        Never waits for the backend. Takes a few milliseconds of a thread.
        """

    async def enter(self, spec: LaunchSpec, command: SessionCommand | RelayCommand) -> Helper:
        """Run the shim within a running attempt: as the task's user, with its environment, its
        working folder and its limits. It ends with the attempt at the latest, before `wait`
        returns. Raises EnterError.
        """

    async def remove(self, spec: LaunchSpec) -> None:
        """Delete everything outside the attempt's folder that the launcher created for it.

        Only after `wait` has returned. If the backend is unavailable, the call waits for it.
        """

    def owner_of(self, pid: int) -> str | None:
        """Return the id of the live task to which a process of this machine belongs; `None` if it
        belongs to none or has ended. Never waits for the backend; safe in any thread."""

    async def close(self) -> None:
        """Disconnect. Whatever runs goes on."""
