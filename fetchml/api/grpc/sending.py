"""Limits on gRPC replies that clients have not read: their bytes, and their time.

A reply that its client does not read stays in gRPC's memory, and grpc.aio cannot discard it:
neither cancelling the task nor sending a status ends such a call. Only closing its connection does.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fetchml.api.grpc.sockets.own_sockets import close_connections
from fetchml.system.byte_budget import ByteBudget

REPLIES_BY_CALLER = 64 << 20
REPLIES_IN_ALL = 256 << 20
SMALL_BYTES = 16 * 1024
"""Replies up to this size are not counted: the limit on calls bounds them."""
COPIES = 2
"""Times that a reply is in memory until its client has read it: gRPC's own bytes, and those that
grpc.aio copied them from."""
STEP_BYTES = 64 * 1024
"""A reply that is made counts for its next bytes in steps of this size."""
SEND_SECONDS = 60
"""A client's connection is closed if it reads nothing of a reply for this long."""
SWEEP_SECONDS = 1
MOST_ENDED = 256
"""Ended calls that are kept before they are removed, in addition to as many open calls."""

log = logging.getLogger(__name__)


class UnreadReplies:
    """Counts replies that clients have not read. Used from one event loop."""

    def __init__(self) -> None:
        self._budget = ByteBudget("replies", by_caller=REPLIES_BY_CALLER, in_all=REPLIES_IN_ALL)
        self._since: dict[asyncio.Task[object], tuple[float, str]] = {}
        """Call → time since which its reply is unread, and its peer; the oldest first."""
        self._most_calls = MOST_ENDED
        """At this number of calls, those that have ended are removed."""
        self._sweep: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    @contextmanager
    def write(self, caller: str, peer: str, size: int) -> Iterator[None]:
        """Count a reply of `size` bytes while it is written. Raises TooManyBytes, Overloaded."""
        task = self._begin(peer)
        try:
            if size <= SMALL_BYTES:
                yield
                return
            with self._budget.hold(caller, COPIES * size):
                yield
        finally:
            self._since.pop(task, None)

    def last(self, caller: str, peer: str, size: int) -> None:
        """Count the running call's only reply, of `size` bytes, until the call has ended. Raises
        TooManyBytes, Overloaded."""
        if size > SMALL_BYTES:
            self._budget.take(caller, COPIES * size)
        task = self._begin(peer)
        if size > SMALL_BYTES:
            task.add_done_callback(lambda _: self._budget.give_back(caller, COPIES * size))

    @contextmanager
    def made(self, caller: str) -> Iterator["ReplyBeingMade"]:
        """Count a reply while it is made, in parts that are then joined."""
        reply = ReplyBeingMade(self._budget, caller)
        try:
            yield reply
        finally:
            reply.close()

    def _remove_ended(self) -> None:
        """Remove calls that have ended. A callback for each call would cost more than inspecting
        all of them now and then."""
        self._since = {task: sent for task, sent in self._since.items() if not task.done()}
        self._most_calls = 2 * len(self._since) + MOST_ENDED

    def _begin(self, peer: str) -> "asyncio.Task[object]":
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101  # grpc.aio serves every call in a task.
        if len(self._since) >= self._most_calls:
            self._remove_ended()
        self._since[task] = (loop.time(), peer)
        if self._sweep is None:
            self._sweep = loop.call_later(SWEEP_SECONDS, self._close_stalled)
        return task

    def _close_stalled(self) -> None:
        """Close the connections of clients that do not read their replies."""
        loop = asyncio.get_running_loop()
        self._remove_ended()
        self._sweep = loop.call_later(SWEEP_SECONDS, self._close_stalled) if self._since else None
        if self._closing is not None and not self._closing.done():
            return
        latest = loop.time() - SEND_SECONDS
        peers = set()
        for since, peer in self._since.values():
            if since > latest:
                break
            peers.add(peer)
        if peers:
            log.warning("closing the connections of clients that do not read their replies")
            self._closing = loop.create_task(asyncio.to_thread(close_connections, peers))


class ReplyBeingMade:
    """The bytes of a reply that is not complete. They are counted as those of an unread one: when
    it is joined, and when gRPC copies it, they are in memory as often."""

    def __init__(self, budget: ByteBudget, caller: str) -> None:
        self._budget = budget
        self._caller = caller
        self._size = 0
        self._held = 0

    def add(self, size: int) -> None:
        """Count `size` more bytes. Raises TooManyBytes, Overloaded."""
        self._size += size
        more = COPIES * self._size - self._held
        if self._size > SMALL_BYTES and more > 0:
            more = max(more, STEP_BYTES)
            self._budget.take(self._caller, more)
            self._held += more

    def close(self) -> None:
        """Count nothing any more: the reply is complete, or was given up."""
        self._budget.give_back(self._caller, self._held)
        self._held = 0
