"""The cause of an end that a shim has recorded: the task itself, or Slurm.

Slurm sends its signals to all processes of a job at once. A shim whose command has died by one of
them cannot always recognize that the signal was meant for itself too. So before an end by a signal
is believed to be the task's own, Slurm is asked for the state of the job, which it sets before it
sends a signal."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.transports.transport import SlurmAway
from fetchml.adapters.slurm.verdicts import exit_of_ended
from fetchml.core.model import AttemptEnd
from fetchml.core.verdict import may_be_from_outside
from fetchml.ports.launcher import AttemptExit
from fetchml.shim import CLAIM_EXISTS

ASK_SECONDS = 30.0
"""Longest wait for Slurm's word. After it the shim's record is believed as it is."""
AGAIN_SECONDS = 0.25


class RecordedEnds:
    """Used from one event loop."""

    def __init__(
        self,
        follower: Follower,
        search: Callable[[Followed], Awaitable[Job | None]],
        *,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        """`search` finds the job of an attempt by its name, and raises SlurmAway."""
        self._follower = follower
        self._search = search
        self._ask_seconds = ask_seconds

    async def exit_of(self, followed: Followed, end: AttemptEnd) -> AttemptExit:
        """Return what Slurm adds to the record; nothing if it does not answer in time."""
        if not may_be_from_outside(end):
            return AttemptExit()
        deadline = time.monotonic() + self._ask_seconds
        with suppress(TimeoutError):
            async with asyncio.timeout(self._ask_seconds):
                while time.monotonic() < deadline:
                    await self._follower.answers.wait()
                    with suppress(SlurmAway):
                        job = await self._follower.look(followed)
                        if job is not None and job.code == CLAIM_EXISTS:
                            followed.lose()  # Another one has run the command.
                            job = None
                        if job is None:
                            job = await self._search(followed)
                        if job is None:
                            break  # Slurm has lost it, and had no part in its end.
                        if job.has_outcome:
                            return exit_of_ended(job)
                    await asyncio.sleep(AGAIN_SECONDS)
        return AttemptExit()
