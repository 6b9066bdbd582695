"""The engine's start and end: what runs is adopted, what is left over goes, then work is taken."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

from fetchml.attempts.manager import AttemptManager
from fetchml.attempts.staging import Inputs
from fetchml.core.events import DrainRequested, LauncherChanged, Recovered
from fetchml.core.state import State
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.feed import Feed
from fetchml.engine.gpus import peak_store
from fetchml.engine.gpus.gpus import Gpus
from fetchml.engine.share_store import SAVE_SECONDS, ShareStore
from fetchml.ports.launcher import Launcher
from fetchml.system.background import every

log = logging.getLogger(__name__)


class EngineLifecycle:
    """Call `start`, then `drain` if the end is orderly, then `close`."""

    def __init__(
        self,
        state: State,
        launcher: Launcher,
        inputs: Inputs,
        gpus: Gpus,
        attempts: AttemptManager,
        shares: ShareStore,
        feed: Feed,
        dispatcher: Dispatcher,
        *,
        clock: Callable[[], int],
        instance_id: str,
    ) -> None:
        """`instance_id`: the data directory's, for the launcher."""
        self.launcher_message = "it has not answered yet"
        """The last report of the launcher, for people."""
        self._state = state
        self._launcher = launcher
        self._inputs = inputs
        self._gpus = gpus
        self._attempts = attempts
        self._shares = shares
        self._feed = feed
        self._dispatcher = dispatcher
        self._clock = clock
        self._instance_id = instance_id
        self._recovered = asyncio.Event()
        self._cleaning: asyncio.Task[None] | None = None
        self._upkeep = AsyncExitStack()

    async def start(self) -> None:
        """Go on with what runs, and take work as soon as the launcher does. Raises what the
        launcher's `open` raises."""
        await self._inputs.open(self._attempts_under_way(), self._instance_id)
        await self._launcher.open(self._instance_id, self._launcher_changed)
        await self._dispatcher.apply(Recovered(self._clock()))
        await self._gpus.bookings.load()
        self._recovered.set()
        await self._gpus.start()
        saving = every(
            SAVE_SECONDS, self._save_shares, failure="the shares can't be saved", first=SAVE_SECONDS
        )
        await self._upkeep.enter_async_context(saving)
        peaks = every(
            peak_store.SAVE_SECONDS,
            self._gpus.save_peaks,
            failure="the peaks of GPU memory can't be saved",
            first=peak_store.SAVE_SECONDS,
        )
        await self._upkeep.enter_async_context(peaks)

    async def drain(self) -> None:
        """Take nothing new, end all watches and log readers; what runs goes on."""
        await self._dispatcher.apply(DrainRequested(self._clock()))
        await self._dispatcher.settled()
        await self._save_shares()
        await self._gpus.save_peaks()
        self._feed.close()
        self._dispatcher.close()

    async def close(self) -> None:
        """Let go of all; what runs goes on."""
        if self._cleaning is not None:
            self._cleaning.cancel()
        await self._upkeep.aclose()
        await self._attempts.close()
        await self._inputs.close()
        await self._gpus.close()
        await self._launcher.close()

    async def _save_shares(self) -> None:
        await self._shares.save(self._state.shares)

    def _launcher_changed(self, available: bool, message: str) -> None:
        self.launcher_message = message
        log.info("launcher %s: %s", "available" if available else "away", message)
        if self._cleaning is not None:
            self._cleaning.cancel()
        if available:
            self._cleaning = asyncio.create_task(self._clean_up())
        else:
            self._dispatcher.apply(LauncherChanged(self._clock(), available=False))

    async def _clean_up(self) -> None:
        """Nothing new starts before the leftovers are gone: they may hold what it needs."""
        await self._recovered.wait()
        try:
            await self._launcher.clean(self._attempts_under_way())
        except Exception:
            log.exception("what earlier attempts left could not be removed")
        self._gpus.owners_known()
        self._dispatcher.apply(LauncherChanged(self._clock(), available=True))

    def _attempts_under_way(self) -> frozenset[tuple[str, int]]:
        """As (task id, attempt)."""
        return frozenset((task.id, task.attempt) for task in self._state.active())
