"""Short forms of the addresses that a task notifies."""

from collections.abc import Mapping
from typing import Any

from fetchml.v1.task_pb2 import NotifyTarget

Target = NotifyTarget | str | Mapping[str, Any]
"""An address: a NotifyTarget, a URL, or `{"url": …, "on": ["failed"]}`."""


def target(given: Target) -> NotifyTarget:
    """Raises ValueError for a name that is no event."""
    if isinstance(given, NotifyTarget):
        return given
    if isinstance(given, str):
        return NotifyTarget(url=given)
    return NotifyTarget(**given)
