"""Conversions of many items, between which other requests have their turn."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from fetchml.system.pacing import Pace

T = TypeVar("T")
R = TypeVar("R")


async def map_in_turns(convert: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What `convert` makes of each item."""
    pace = Pace()
    converted: list[R] = []
    for item in items:
        converted.append(convert(item))
        if pace.due:
            await pace.rest()
    return converted
