"""Writing the replies of a call, and limits on the bytes that clients have not read.

A reply that its client does not read stays in gRPC's memory, and grpc.aio cannot discard it: the
call counts for its caller until the client reads or disconnects. Keepalive pings end the connection
of a client that does not read at all.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from typing import Any

from fetchml.api.grpc.errors import TRACE_KEY
from fetchml.auth.limits import byte_budget
from fetchml.system.caller_budget import CallerBudget
from fetchml.system.log import current_trace

REPLIES_BY_CALLER = 64 << 20
REPLIES_IN_ALL = 256 << 20
SMALL_BYTES = 16 * 1024
"""Replies up to this size are not counted: the limit on calls bounds them."""
COPIES = 2
"""Times that a reply is in memory until its client has read it: gRPC's own bytes, and those that
grpc.aio copied them from."""
STEP_BYTES = 64 * 1024
"""A reply that is made counts for its next bytes in steps of this size."""

_NOT_COUNTED = nullcontext()


class UnreadReplies:
    """Counts replies that clients have not read. Used from one event loop."""

    def __init__(self) -> None:
        self._budget = byte_budget("replies", by_caller=REPLIES_BY_CALLER, in_all=REPLIES_IN_ALL)

    def counted(self, caller: str, size: int) -> AbstractContextManager[None]:
        """Count a reply of `size` bytes while it is written. Raises TooManyBytes, Overloaded."""
        return _NOT_COUNTED if size <= SMALL_BYTES else self._budget.hold(caller, COPIES * size)

    def last(self, caller: str, size: int) -> None:
        """Count the running call's only reply, of `size` bytes, until the call has ended. Raises
        TooManyBytes, Overloaded."""
        if size <= SMALL_BYTES:
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # grpc.aio serves every call in a task.
        self._budget.take(caller, COPIES * size)
        task.add_done_callback(lambda _: self._budget.give_back(caller, COPIES * size))

    @contextmanager
    def made(self, caller: str) -> Iterator["ReplyBeingMade"]:
        """Count a reply while it is made, in parts that are then joined."""
        reply = ReplyBeingMade(self._budget, caller)
        try:
            yield reply
        finally:
            reply.close()


class ReplyBeingMade:
    """The bytes of a reply that is not complete. They are counted as those of an unread one: when
    it is joined, and when gRPC copies it, they are in memory as often."""

    def __init__(self, budget: CallerBudget, caller: str) -> None:
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
        """Stop counting: the reply is complete or was aborted."""
        self._budget.give_back(self._caller, self._held)
        self._held = 0


class ReplyWriter:
    """Runs a method and writes its replies; each counts as unread until the client reads it.

    A method that streams its reply is an async generator. Each write waits until the client has
    room, so a slow client delays only its own stream. A stream that may stay quiet yields `None`
    once all checks have passed: the trace id is then sent as initial metadata, which shows the
    client that it is connected.
    """

    def __init__(self, handler: Any, unread: UnreadReplies, caller: str, context: Any) -> None:
        self._handler = handler
        self._unread = unread
        self._caller = caller
        self._context = context

    async def reply(self, request: Any, context: Any) -> None:
        """Run the method with the request and the context that it takes."""
        handler = self._handler
        if not handler.response_streaming:
            method = handler.unary_unary or handler.stream_unary
            await self._write(await method(request, context))
            return
        method = handler.unary_stream or handler.stream_stream
        async with aclosing(method(request, context)) as messages:
            async for message in messages:
                if message is None:
                    trace = ((TRACE_KEY, current_trace.get()),)
                    await self._context.send_initial_metadata(trace)
                else:
                    await self._write(message)

    async def _write(self, message: Any) -> None:
        data = self._handler.response_serializer(message)
        with self._unread.counted(self._caller, len(data)):
            await self._context.write(data)
