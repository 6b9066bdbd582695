"""Long work in the event loop, in slices between which other requests have their turn."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

SLICE = 100

T = TypeVar("T")
R = TypeVar("R")


async def map_in_turns(convert: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What `convert` makes of each item: 100 tasks take 1 to 2 ms."""
    converted: list[R] = []
    for start in range(0, len(items), SLICE):
        if start:
            await asyncio.sleep(0)
        converted.extend(map(convert, items[start : start + SLICE]))
    return converted
