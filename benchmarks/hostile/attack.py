"""What an attack returns, and how it is prepared."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from benchmarks.processes import Server


class Outcome(NamedTuple):
    """The end of an attack."""

    remark: str = ""
    kept: bool = True
    """Whether the limits beside memory and turns were kept, such as those of the disk."""


Attack = Callable[[], Outcome]
"""Returns when it is over; what it holds is measured until then."""
Prepared = Callable[[Server], AbstractContextManager[Attack]]
