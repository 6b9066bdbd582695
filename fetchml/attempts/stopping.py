"""Ends an attempt from outside: warning, SIGTERM, SIGKILL."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fetchml.core.events import Manner
from fetchml.ports.launcher import Launcher, LaunchSpec
from fetchml.system import failpoints

STOP_MARGIN_SECONDS = 5.0
"""The launcher kills this long after the grace period if the shim could not."""
AGAIN_SECONDS = 1.0
"""Between two tries to end an attempt."""

log = logging.getLogger(__name__)


class StopRequest:
    """The request to end one attempt, which may become harder."""

    def __init__(self) -> None:
        self.made = asyncio.Event()
        self._at_once = asyncio.Event()
        """No warning comes first, or it is not waited for any longer."""
        self._kill = asyncio.Event()

    def make(self, manner: Manner) -> None:
        self.made.set()
        if manner is not Manner.WARN:
            self._at_once.set()
        if manner is Manner.KILL:
            self._kill.set()

    async def carry_out(
        self,
        launcher: Launcher,
        launch: Callable[[], LaunchSpec],
        *,
        warn_seconds: int,
        has_started: Callable[[], Awaitable[bool]],
    ) -> None:
        """End the attempt once the request is made. Cancel it when the attempt is over.

        A command that has not started has nothing to save, and is not warned.
        """
        await self.made.wait()
        failpoints.reach("stop_requested")
        if not self._at_once.is_set() and await has_started():
            await _insist(launcher.warn, launch(), self._at_once)
            failpoints.reach("warned")
            await _within(warn_seconds, self._at_once)
        if not self._kill.is_set():
            try:
                await _insist(launcher.stop, launch(), self._kill)
            finally:  # The end of the attempt, which cancels this, may be seen first.
                failpoints.reach("term_sent")
            await _within(launch().grace_ms / 1000 + STOP_MARGIN_SECONDS, self._kill)
        if not self._kill.is_set():
            told = {"task_id": launch().task_id}
            log.warning("the shim did not end the attempt in time", extra=told)
        try:
            await _insist(launcher.kill, launch())
        finally:
            failpoints.reach("kill_sent")


async def _insist(
    end: Callable[[LaunchSpec], Awaitable[None]],
    launch: LaunchSpec,
    harder: asyncio.Event | None = None,
) -> None:
    """Repeat until it succeeds: the request to stop was accepted, and a failure of the backend must
    not lose it. `harder`: set when a harder request takes its place."""
    harder = harder or asyncio.Event()
    while not harder.is_set():
        try:
            await end(launch)
        except Exception:
            log.exception("an attempt can't be ended", extra={"task_id": launch.task_id})
            await _within(AGAIN_SECONDS, harder)
        else:
            return


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Return when the event is set, or after the time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
