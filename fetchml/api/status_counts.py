"""Numbers of tasks by status, as REST and gRPC show them of sweeps and experiments."""

from collections.abc import Callable, Mapping
from typing import Protocol

from fetchml.api.mapping import Field
from fetchml.core.model import Status


class Counted(Protocol):
    """Has tasks."""

    @property
    def counts(self) -> Mapping[Status, int]:
        """Tasks by the status that clients see."""


def status_fields() -> list[Field]:
    """Return a field for each status, whose value is the number of tasks of a `Counted`."""
    return [Field(status.value, _count(status)) for status in Status]


def _count(status: Status) -> Callable[[Counted], int]:
    return lambda view: view.counts.get(status, 0)
