"""How many bytes of gRPC replies may wait to be read, and for how long.

A reply that its client does not read stays in gRPC's memory, and grpc.aio has no way to take it
back: neither a cancelled task nor a status ends such a call. Only its connection's end does.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fetchml.api.grpc.own_sockets import close_connections
from fetchml.system.byte_budget import ByteBudget

REPLIES_BY_CALLER = 64 << 20
REPLIES_IN_ALL = 256 << 20
SMALL_BYTES = 16 * 1024
"""What is no larger is not counted: the number of calls bounds it."""
SEND_SECONDS = 60
"""A client that takes nothing of a reply for so long loses its connection."""
SWEEP_SECONDS = 1
MOST_ENDED = 256
"""Calls that have ended and are still known, beside as many as have not."""

log = logging.getLogger(__name__)


class Sending:
    """Replies between the server and their clients. Used from one event loop."""

    def __init__(self) -> None:
        self._budget = ByteBudget("replies", by_caller=REPLIES_BY_CALLER, in_all=REPLIES_IN_ALL)
        self._since: dict[asyncio.Task[object], tuple[float, str]] = {}
        """Call → since when a reply waits to be read, and the client's peer; the oldest first."""
        self._ended_from = MOST_ENDED
        """With so many calls, those that have ended are forgotten."""
        self._sweep: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    @contextmanager
    def write(self, caller: str, peer: str, size: int) -> Iterator[None]:
        """Around a write of `size` bytes. Raises TooManyBytes, Overloaded."""
        task = self._begin(peer)
        try:
            if size <= SMALL_BYTES:
                yield
                return
            with self._budget.hold(caller, size):
                yield
        finally:
            self._since.pop(task, None)

    def last(self, caller: str, peer: str, size: int) -> None:
        """The running call is about to return its only reply, of `size` bytes: it is held until
        the call has ended. Raises TooManyBytes, Overloaded."""
        if size > SMALL_BYTES:
            self._budget.take(caller, size)
        task = self._begin(peer)
        if size > SMALL_BYTES:
            task.add_done_callback(lambda _: self._budget.give_back(caller, size))

    def _forget_ended(self) -> None:
        """Now and then: a callback of each call costs more than to look at all of them."""
        self._since = {task: sent for task, sent in self._since.items() if not task.done()}
        self._ended_from = 2 * len(self._since) + MOST_ENDED

    def _begin(self, peer: str) -> "asyncio.Task[object]":
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # grpc.aio serves every call in a task
        loop = asyncio.get_running_loop()
        if len(self._since) >= self._ended_from:
            self._forget_ended()
        self._since[task] = (loop.time(), peer)
        if self._sweep is None:
            self._sweep = loop.call_later(SWEEP_SECONDS, self._look)
        return task

    def _look(self) -> None:
        """Close the connections of clients that do not read."""
        loop = asyncio.get_running_loop()
        self._forget_ended()
        self._sweep = loop.call_later(SWEEP_SECONDS, self._look) if self._since else None
        if self._closing is not None and not self._closing.done():
            return
        latest = loop.time() - SEND_SECONDS
        peers = set()
        for since, peer in self._since.values():
            if since > latest:
                break
            peers.add(peer)
        if peers:
            log.warning("clients that do not read their replies lose their connections")
            self._closing = loop.create_task(asyncio.to_thread(close_connections, peers))
