"""Looks at the cluster's nodes: rarely by itself, soon after somebody asked."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from fetchml.adapters.slurm.transports.transport import SlurmAway
from fetchml.ports.cluster import Node

IDLE_SECONDS = 30.0
"""Between two looks while nobody asks."""
FRESH_SECONDS = 2.0
"""Age from which an answer makes the next look come at once."""
SHARE = 50
"""A look that takes long is repeated after this many times as long."""
_SILENT = ("DOWN", "NOT_RESPONDING")

log = logging.getLogger(__name__)


class NodeWatch:
    """Used from one event loop."""

    def __init__(
        self,
        look: Callable[[], Awaitable[list[Node]]],
        *,
        answers: asyncio.Event,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        """`look`: asks Slurm; raises SlurmAway. `answers`: set while Slurm answers."""
        self._fresh_seconds = fresh_seconds
        self._look = look
        self._answers = answers
        self._nodes: tuple[Node, ...] = ()
        self._wanted = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    @property
    def workers(self) -> int:
        """Number of nodes that take work."""
        return sum(node.takes_work for node in self.nodes())

    async def open(self) -> None:
        """Look once, and go on until `close`."""
        pause = await self._safely() if self._answers.is_set() else 0.0
        self._looking = asyncio.create_task(self._repeat(pause))

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def nodes(self) -> Sequence[Node]:
        """Return the nodes as last seen, by name, and make the next look come soon."""
        self._wanted.set()
        return self._nodes

    def address(self, name: str) -> str | None:
        """Return the address of a node; `None` if it is not known. The next look comes soon
        then."""
        for node in self._nodes:
            if node.name == name and node.address:
                return node.address
        self._wanted.set()
        return None

    def is_silent(self, name: str) -> bool:
        """Whether Slurm reports that a node does not answer, as last seen. The next look comes
        soon."""
        self._wanted.set()
        states = [node.state for node in self._nodes if node.name == name]
        return any(word.startswith(_SILENT) or word.endswith("*") for word in sum(states, ()))

    async def _repeat(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            if pause:  # Else nothing was seen yet.
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, IDLE_SECONDS - pause)):
                        await self._wanted.wait()
            await self._answers.wait()
            pause = await self._safely()

    async def _safely(self) -> float:
        """Return the seconds until the next look may begin."""
        self._wanted.clear()
        began = time.monotonic()
        try:
            self._nodes = tuple(sorted(await self._look(), key=lambda node: node.name))
        except SlurmAway as error:
            log.info("the nodes are not known: %s", error)
        except Exception:
            log.exception("Slurm's reply about its nodes can't be used")
        return max(self._fresh_seconds, SHARE * (time.monotonic() - began))
