"""The handler of every gRPC call: trace id, authentication, limits, errors, and shutdown.

One handler serves all methods, so that no method can be added without these checks. Health and
reflection come from other packages and need no key; see `keyless`.

The handler is registered with grpc.aio as one generic handler. An interceptor would cost each call
another coroutine. Registering each method would cost more: grpc.aio then sets up a wait for every
registered method again at each call, 10 µs for 17 methods.

Every method is registered as if its requests were a stream: grpc.aio starts such a call before a
message has arrived, so that the handler can reject it, count it and limit its time first. For a
method with one request and one reply this costs nothing: the handler reads the one message.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext, suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from fetchml.api.grpc import receiving
from fetchml.api.grpc.call import Metadata, RpcContext, client_of
from fetchml.api.grpc.errors import TRACE_KEY, failure
from fetchml.api.grpc.health import KeylessCalls
from fetchml.api.grpc.receiving import PLACES, PLACES_BY_KEY, MessageSlots, read_messages
from fetchml.api.grpc.sending import SMALL_BYTES, ReplyWriter, UnreadReplies
from fetchml.api.trace import new_trace
from fetchml.auth.admission import Admission
from fetchml.auth.audit import Audit
from fetchml.auth.limits import byte_budget
from fetchml.core.model import Principal
from fetchml.errors import BadRequest, Forbidden, RequestError, Unauthorized, Unavailable
from fetchml.system.log import current_trace
from fetchml.system.pacing import turn_for

OWN_SERVICES = "/fetchml."
"""Prefix of the methods that need an API key."""
DISCONNECT_SECONDS = 1
"""Longest time from a failed write until grpc.aio notices that the client has disconnected."""
MESSAGES_BY_KEY = 32 << 20
MESSAGES_IN_ALL = 128 << 20
"""Bytes of messages that calls work on. Those up to `SMALL_BYTES` are not counted."""

_NOT_COUNTED = nullcontext()

log = logging.getLogger(__name__)


class RpcHandler(grpc.GenericRpcHandler):
    """Calls methods with an `RpcContext` in place of grpc's context, and turns their errors into
    statuses."""

    def __init__(self, admission: Admission, audit: Audit) -> None:
        self._admission = admission
        self._audit = audit
        self._services: list[grpc.GenericRpcHandler] = []
        self._wrapped: dict[str, Any] = {}
        """Method → its handler, wrapped with the checks."""
        self._slots = MessageSlots(
            PLACES, PLACES_BY_KEY, waiting_by_caller=admission.streams_per_key
        )
        self._messages = byte_budget("messages", by_caller=MESSAGES_BY_KEY, in_all=MESSAGES_IN_ALL)
        self.unread = UnreadReplies()
        """Counts the replies of all calls; methods whose replies are large count them earlier."""
        self._keyless = KeylessCalls(admission, self.unread)
        self._streams: set[asyncio.Task[Any]] = set()
        self._closing = False

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add a service. Generated code calls this method as that of a server."""
        self._services += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Do nothing: generated code also registers every method singly."""

    def service(self, handler_call_details: Any) -> Any:
        """Return the wrapped handler of a method; `None` if the method is unknown."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handlers = (service.service(handler_call_details) for service in self._services)
            handler = next(filter(None, handlers), None)
            if handler is None:
                return None
            # Only known methods are stored, so names that clients invent do not fill memory.
            own = method.startswith(OWN_SERVICES)
            wrapped = self._wrap(method, handler) if own else self._keyless.wrap(method, handler)
            self._wrapped[method] = wrapped
        return wrapped

    def close_streams(self) -> None:
        """End every open stream, and every call that waits for a message, with UNAVAILABLE.
        Calls with a single reply continue once their message has arrived."""
        self._closing = True
        self._slots.close(_shutting_down())
        self._keyless.close(_shutting_down())
        for stream in list(self._streams):
            stream.cancel()

    def _wrap(self, method: str, handler: Any) -> Any:
        """Return a handler of streamed requests. It parses messages itself: for malformed bytes,
        grpc would return UNKNOWN with the parser's own message."""

        def parse(data: bytes) -> Any:
            try:
                return handler.request_deserializer(data)
            except DecodeError as error:
                raise BadRequest("The request is not a valid message of this method") from error

        async def answer_unary_stream(rpc: RpcContext, context: Any) -> None:
            caller = rpc.principal.key_id
            data = await receiving.only_message(read_messages(self._slots, caller, context))
            with self._count_message(caller, data):
                writer = ReplyWriter(handler, self.unread, caller, context)
                await writer.reply(parse(data), rpc)

        async def answer_stream_unary(rpc: RpcContext, context: Any) -> bytes:
            caller = rpc.principal.key_id

            async def requests() -> AsyncGenerator[Any]:
                async with aclosing(read_messages(self._slots, caller, context)) as received:
                    async for data in received:
                        with self._count_message(caller, data):
                            await turn_for(len(data))
                            yield parse(data)

            async with aclosing(requests()) as parsed:
                reply: bytes = serialize(await handler.stream_unary(parsed, rpc))
            self.unread.last(caller, len(reply))
            return reply

        async def answer_conversation(rpc: RpcContext, context: Any) -> None:
            caller = rpc.principal.key_id

            async def requests() -> AsyncGenerator[Any]:
                conversation = receiving.read_conversation(self._slots, caller, context)
                async with aclosing(conversation) as received:
                    async for data in received:
                        yield parse(data)

            async with aclosing(requests()) as parsed:
                writer = ReplyWriter(handler, self.unread, caller, context)
                await writer.reply(parsed, rpc)

        serialize = handler.response_serializer
        answer_stream = answer_conversation if handler.request_streaming else answer_unary_stream
        if handler.response_streaming:
            behavior = self._behavior(method, answer_stream, stream=True)
            return grpc.stream_stream_rpc_method_handler(behavior, None, None)
        if handler.request_streaming:
            behavior = self._behavior(method, answer_stream_unary, stream=True)
        else:
            behavior = self._behavior(method, self._unary(handler, parse), stream=False)
        return grpc.stream_unary_rpc_method_handler(behavior, None, None)

    def _unary(
        self, handler: Any, parse: Callable[[bytes], Any]
    ) -> Callable[[RpcContext, Any], Awaitable[bytes]]:
        """Return the coroutine function that answers the calls of a method with one request and one
        reply."""
        method, serialize = handler.unary_unary, handler.response_serializer
        seconds = receiving.MESSAGE_SECONDS
        late = receiving.late(seconds)

        async def answer_unary(rpc: RpcContext, context: Any) -> bytes:
            caller = rpc.principal.key_id
            data = await self._slots.receive(caller, context.read, seconds, late)
            if data is grpc.aio.EOF:
                raise BadRequest(receiving.NO_MESSAGE)
            # The key may have been revoked while the call waited for its message.
            self._admission.check(rpc.principal)
            if len(data) <= SMALL_BYTES:  # Nearly always: it needs no context and no turn.
                message = await method(parse(data), rpc)
            else:
                with self._messages.hold(caller, len(data)):
                    await turn_for(len(data))
                    message = await method(parse(data), rpc)
            # Some methods serialize a large reply themselves, in parts.
            reply: bytes = message if isinstance(message, bytes) else serialize(message)
            size = len(reply)
            self.unread.last(caller, size)
            if size > SMALL_BYTES:
                await turn_for(size)  # gRPC copies it.
            return reply

        return answer_unary

    def _count_message(self, caller: str, data: bytes) -> AbstractContextManager[None]:
        """Count a message while a call works on it. Raises TooManyBytes, Overloaded."""
        if len(data) <= SMALL_BYTES:
            return _NOT_COUNTED
        return self._messages.hold(caller, len(data))

    def _behavior(
        self,
        method: str,
        answer: Callable[[RpcContext, Any], Awaitable[Any]],
        *,
        stream: bool,
    ) -> Callable[[object, Any], Awaitable[Any]]:
        """Return the coroutine function that serves the calls of a method. `stream`: they may last
        until they are ended."""

        async def serve(_: object, context: Any) -> Any:
            pairs = context.invocation_metadata() or ()
            metadata = dict(pairs)
            secret = _key_in(metadata)
            peer = context.peer()
            trace_id = new_trace(metadata.get("traceparent"), metadata.get("x-request-id"))
            current_trace.set(trace_id)
            context.set_trailing_metadata(((TRACE_KEY, trace_id),))
            principal: Principal | None = None
            try:
                principal = self._admit(peer, pairs, secret)
                rpc = RpcContext(principal, metadata)
                if not stream:
                    return await answer(rpc, context)
                with self._open_stream(), self._admission.while_valid(principal):
                    return await answer(rpc, context)
            except RequestError as error:
                ended = failure(error, trace_id)
                if isinstance(error, (Forbidden, Unauthorized)):
                    client = client_of(self._admission, peer, pairs)
                    self._audit.refused(principal, client, method, error)
            except Exception as error:
                if isinstance(error, grpc.aio.InternalError):
                    # Otherwise grpc.aio takes the failed write for a fault of its own.
                    await _wait_for_disconnect(context)
                if context.cancelled():
                    raise  # The client has disconnected, so the reason would not be read.
                log.exception("%s failed", method)
                ended = failure(None, trace_id)
            # Not where the error is handled: grpc.aio keeps what `abort` raises for a while, and
            # with it would keep the error, its frames, and the messages that they hold.
            await context.abort(*ended)
            return None

        return serve

    def _admit(self, peer: str, metadata: Metadata, secret: str | None) -> Principal:
        """Authenticate the caller. The control socket is protected by its file mode: a call over it
        is the owner's, unless it presents another key. All other calls must present a key."""
        if peer.startswith("unix:"):
            if secret is None:
                return self._admission.local
            return self._admission.admit(secret, self._admission.local.address).principal
        return self._admission.admit(secret, client_of(self._admission, peer, metadata)).principal

    @contextmanager
    def _open_stream(self) -> Iterator[None]:
        """Count the running task as a stream that `close_streams` ends."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # grpc.aio serves every call in a task.
        self._streams.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._closing:
                raise
            task.uncancel()
            raise _shutting_down() from None
        finally:
            self._streams.discard(task)


def _shutting_down() -> Unavailable:
    return Unavailable("The server is shutting down: call again when it is back")


def _key_in(metadata: Mapping[str, Any]) -> str | None:
    secret = metadata.get("x-api-key")
    return secret if isinstance(secret, str) else None


async def _wait_for_disconnect(context: Any) -> None:
    """After a failed write, wait until grpc.aio notices that the client has disconnected."""
    done = asyncio.Event()
    context.add_done_callback(lambda _: done.set())
    if not context.done():
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCONNECT_SECONDS):
                await done.wait()
