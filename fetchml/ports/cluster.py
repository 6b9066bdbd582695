"""The cluster behind a launcher that leaves the placement of tasks to it."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Cluster(Protocol):
    @property
    def workers(self) -> int:
        """The number of nodes that can take work, as far as known."""

    def reason(self, task_id: str, attempt: int) -> str | None:
        """Return why the cluster has not started an attempt, as a sentence for users; `None` if
        nothing is known about it."""

    def trouble(self, task_id: str, attempt: int) -> str | None:
        """Return what is wrong with an attempt that has started, in sentences for users; `None` if
        nothing is."""
