"""The cluster behind a launcher that leaves the placement of tasks to it."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from fetchml.core.gpus.health import GpuReading
from fetchml.ports.launcher import LaunchSpec


class Node(msgspec.Struct, frozen=True):
    """A machine of the cluster."""

    name: str
    state: tuple[str, ...]
    """The cluster's own words, as `IDLE`, `DRAIN`."""
    takes_work: bool
    reason: str | None = None
    """The reason why it takes no work, as its administrator or the cluster wrote it."""
    reason_by: str | None = None
    """The account that wrote the reason."""
    cpu: int = 0
    cpu_used: int = 0
    memory_mb: int = 0
    memory_used_mb: int = 0
    gpu: int = 0
    gpu_used: int = 0
    gpu_indexes_used: tuple[int, ...] | None = None
    """`None` if the cluster reports only how many are in use."""
    gpu_name: str = ""
    """The cluster's name for the type of its GPUs; empty if it has none."""
    partitions: tuple[str, ...] = ()
    address: str = ""
    """Host name or IP address at which the cluster itself reaches it; empty if it names none."""


class NodeReading(NamedTuple):
    """Measurements of an attempt's GPUs."""

    mark: str
    """Differs from one measurement to the next."""
    gpus: Sequence[GpuReading]


@runtime_checkable
class Cluster(Protocol):
    @property
    def workers(self) -> int:
        """The number of nodes that can take work, as far as known."""

    def nodes(self) -> Sequence[Node]:
        """Return all nodes as last seen, by name. Calls in a row keep them fresh."""

    async def until_usable(self) -> None:
        """Return when tasks can be handed over: the cluster answers, and the folder that it shares
        with this host can be written to."""

    def reason(self, task_id: str, attempt: int) -> str | None:
        """Return why the cluster has not started an attempt, as a sentence for users; `None` if
        nothing is known about it."""

    def trouble(self, task_id: str, attempt: int) -> str | None:
        """Return the problem of an attempt that has started, in sentences for users; `None` if
        nothing is."""

    async def permit(self, run: LaunchSpec, timeout_ms: int) -> str | None:
        """Let a running attempt run so long from its start on; 0: without a limit. Return why the
        cluster does not, for users; `None` if it does. Changes only the cluster's own limit, which
        comes later than the shim's. May be repeated."""

    def begins_at(self, task_id: str, attempt: int) -> int | None:
        """Return when the cluster expects to start an attempt, in milliseconds since the epoch
        (UTC); `None` if it has no estimate."""

    def position(self, task_id: str, attempt: int) -> int | None:
        """Return the position of an attempt among all that wait in the cluster's queue, from 1;
        `None` if it is not known."""

    def gpu_readings(
        self, attempts: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], NodeReading]:
        """Return what was last measured of the GPUs of running attempts (task id, attempt), where
        something was. Calls in a row keep it fresh. The tasks may have forged it."""

    def address_of(self, task_id: str, attempt: int) -> str | None:
        """Return the address of the node on which an attempt runs, as the cluster itself names it;
        `None` if it is not known."""
