"""Ends jobs of this server that no attempt needs.

An earlier server may have left some. A controller that was restarted may also have revived some:
what it forgot includes that a job was cancelled, or over.
"""

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress

from fetchml.adapters.slurm.transports.transport import AccountAway, SlurmAway, SlurmTransport

SWEEP_SECONDS = 600.0
"""Between two sweeps; after an outage there is one at once. A restart of the controller between two
polls is not noticed."""

log = logging.getLogger(__name__)


class Leftovers:
    """Used from one event loop."""

    def __init__(self, transport: SlurmTransport, users: Collection[str] = ()) -> None:
        """`users`: the accounts of users as whom jobs can be cancelled."""
        self._users = users
        self.prefix = ""
        """Of the names of this server's jobs."""
        self._transport = transport
        self._live: set[str] | None = None
        """Names of the jobs that attempts need; `None` until all of them are known."""
        self._due = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None

    def need(self, name: str) -> None:
        """An attempt has a job of this name, or will."""
        if self._live is not None:
            self._live.add(name)

    def drop(self, name: str) -> None:
        """The attempt is over, and its jobs were ended."""
        if self._live is not None:
            self._live.discard(name)

    async def begin(self, live: set[str]) -> None:
        """Sweep now, and again at times until `close`. Raises SlurmAway."""
        self._live = live
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._repeat())
        await self._sweep()

    def slurm_returned(self) -> None:
        """Sweep soon."""
        self._due.set()

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _repeat(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._due.wait()
            self._due.clear()
            try:
                await self._sweep()
            except SlurmAway:
                pass  # When it returns, this is called again.
            except Exception:
                log.exception("left-over jobs can't be looked for")

    async def _sweep(self) -> None:
        await self._sweep_jobs_of("")
        for user in tuple(self._transport.hidden):
            with suppress(AccountAway):
                await self._sweep_jobs_of(user)

    async def _sweep_jobs_of(self, user: str) -> None:
        """`user`: an account whose jobs are hidden from the server's own; empty for all others."""
        for job in await self._transport.named(self.prefix, user):
            # Looked at after the reply: an attempt may have begun meanwhile.
            if self._live is not None and job.name not in self._live and not job.is_over:
                log.warning(
                    "Ending a left-over job", extra={"job": str(job.id), "job_name": job.name}
                )
                await self._transport.cancel(job.id, job.user if job.user in self._users else "")
