"""Preparing attempts on a shared disk, whose faults hold up its tasks and fail none."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fetchml.files.shared_disk import is_fault
from fetchml.ports.launcher import PrepareError

AGAIN_SECONDS = 1.0

log = logging.getLogger(__name__)


async def until_it_answers(
    prepare: Callable[[], Awaitable[None]],
    usable: Callable[[], Awaitable[None]],
    progress: Callable[[str], None],
) -> None:
    """Prepare an attempt, again after each fault of the disk. `usable` returns when the disk can be
    written to. Raises what `prepare` raises for other reasons."""
    while True:
        await usable()
        try:
            return await prepare()
        except (OSError, PrepareError) as error:
            if not is_fault(error):
                raise
            log.warning("an attempt waits for the shared folder: %s", error)
        progress("the shared folder does not answer; it is tried again")
        await asyncio.sleep(AGAIN_SECONDS)
