"""Where tasks run: on this host, or on the nodes of a cluster. `server/cluster_wiring.py` chooses.

Both classes have the same methods. On this host the core places the tasks and has the facts, so
most methods return nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from fetchml.core.model import Status, Task
from fetchml.files.attempt_folder import AttemptFolder, FolderCall, call_inline
from fetchml.files.reads import FileReads, SharedDiskReads
from fetchml.files.shared_disk import SharedDisk, is_fault
from fetchml.ports.cluster import Cluster, Node, NodeReading
from fetchml.ports.launcher import LaunchSpec, PrepareError

AGAIN_SECONDS = 1.0

log = logging.getLogger(__name__)

Prepare = Callable[[], Awaitable[None]]
NodeGpus = tuple[str | None, tuple[str, ...]]
"""The cluster's node that an attempt runs on, and its GPUs there. The name is `None` on this host,
and while the node is not known."""


class ThisHost:
    opens_gates = True
    """A prestaged attempt waits at its gate until the server opens it."""
    workers = 1
    """Machines that can take work."""
    drain_refusal: str | None = None
    """The reason why admins can't drain GPUs here; `None` if they can."""
    booking_refusal: str | None = None
    """The same for reservations."""

    def __init__(self) -> None:
        self.look: FolderCall = call_inline
        """Calls a method of an attempt's folder that takes a few system calls."""
        self.in_thread: FolderCall = asyncio.to_thread
        """Calls a method of an attempt's folder that may take longer."""
        self.reads = FileReads()
        """Of tasks' files, for clients."""

    async def prepare(self, prepare: Prepare, progress: Callable[[str], None]) -> None:
        """Prepare an attempt. Raises what `prepare` raises."""
        await prepare()

    async def node(self, folder: AttemptFolder) -> NodeGpus:
        return None, ()

    def reason(self, task: Task) -> str | None:
        """Return why a waiting task was not started, or the trouble of a running one, as a sentence
        for users; `None` if the core has the reason."""
        return None

    def trouble(self, task: Task) -> str | None:
        """Return the problem of a running task's node, in sentences for users."""
        return None

    def position(self, task: Task) -> int | None:
        """Return the position of a task in a queue that is not the core's, from 1."""
        return None

    async def permit(self, run: LaunchSpec, timeout_ms: int) -> str | None:
        """Change the time limit of a running attempt; 0: none. Return the reason if it is refused,
        for users."""
        return None

    def nodes(self) -> Sequence[Node]:
        return ()

    def gpu_readings(
        self, attempts: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], NodeReading]:
        """Return what nodes have measured of the GPUs of running attempts (task id, attempt). The
        tasks may have forged it."""
        return {}


class ClusterHost:
    """Attempts have their folders on a shared disk, whose faults delay tasks and fail none."""

    opens_gates = False  # The cluster decides when an attempt starts.
    drain_refusal = (
        "The nodes of a cluster are drained by its administrators: scontrol update NodeName=NODE "
        "State=DRAIN Reason=…"
    )
    booking_refusal = (
        "The GPUs of a cluster are reserved by its administrators: scontrol create reservation"
    )

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.look: FolderCall = SharedDisk()
        self.in_thread = self.look
        # In threads of their own: those of clients delay no attempt.
        self.reads = SharedDiskReads()

    @property
    def workers(self) -> int:
        return self.cluster.workers

    async def prepare(self, prepare: Prepare, progress: Callable[[str], None]) -> None:
        """Prepare an attempt when the disk can be written to, again after each fault of it."""
        while True:
            await self.cluster.until_usable()
            try:
                return await prepare()
            except (OSError, PrepareError) as error:
                if not is_fault(error):
                    raise
                log.warning("an attempt waits for the shared folder: %s", error)
            progress("no response from the shared folder: retrying")
            await asyncio.sleep(AGAIN_SECONDS)

    async def node(self, folder: AttemptFolder) -> NodeGpus:
        return await self.look(folder.node)

    def reason(self, task: Task) -> str | None:
        if task.shown_status is Status.QUEUED:
            return self.cluster.reason(task.id, task.attempt)
        return self.trouble(task)

    def trouble(self, task: Task) -> str | None:
        return self.cluster.trouble(task.id, task.attempt)

    def position(self, task: Task) -> int | None:
        return self.cluster.position(task.id, task.attempt)

    async def permit(self, run: LaunchSpec, timeout_ms: int) -> str | None:
        return await self.cluster.permit(run, timeout_ms)

    def nodes(self) -> Sequence[Node]:
        return self.cluster.nodes()

    def gpu_readings(
        self, attempts: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], NodeReading]:
        return self.cluster.gpu_readings(attempts)


TaskHost = ThisHost | ClusterHost
