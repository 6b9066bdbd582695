"""Writing the replies of a call."""

from contextlib import aclosing
from typing import Any

from fetchml.api.grpc.errors import TRACE_KEY
from fetchml.api.grpc.sending import UnreadReplies
from fetchml.system.log import current_trace


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
        with self._unread.held(self._caller, len(data)):
            await self._context.write(data)
