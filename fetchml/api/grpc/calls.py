"""What surrounds every call of our own services: trace id, API key, errors, and the drain.

One handler does it for all methods, so that no method can be added without it. Health and
reflection belong to other packages and need no key: each address holds only so many calls of them
open.

It is registered with grpc.aio as one generic handler. An interceptor would do, but costs each call
another coroutine; so does a registration of each method: grpc.aio then sets up a wait for each of
them again at every call, 10 µs for 17 methods.

Every method is registered as one whose requests are a stream: grpc.aio calls those before a
message has come, so that what surrounds a call can refuse it, count it and give it a time first.
For a method with one request and one reply this costs nothing: the call itself reads one message.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from fetchml.api.grpc.errors import TRACE_KEY, failure
from fetchml.api.grpc.receiving import (
    CHECK_LEAST_SECONDS,
    CHECK_PLACES,
    CHECK_PLACES_BY_ADDRESS,
    KEYLESS_PLACES,
    KEYLESS_PLACES_BY_ADDRESS,
    PLACES,
    PLACES_BY_KEY,
    Receiving,
)
from fetchml.api.grpc.sending import SMALL_BYTES, Sending
from fetchml.api.trace import new_trace
from fetchml.auth.admission import Admission
from fetchml.auth.audit import Audit
from fetchml.config.proxies import caller_of
from fetchml.core.model import Principal
from fetchml.errors import BadRequest, Forbidden, RequestError, Unauthorized, Unavailable
from fetchml.system.byte_budget import ByteBudget
from fetchml.system.log import current_trace

OWN_SERVICES = "/fetchml."
GONE_SECONDS = 1
"""How long grpc.aio may take from a write that failed to knowing that the client has left."""

MESSAGE_SECONDS = 30
"""How long a call's first message may take."""
CHECK_SECONDS = 5
"""How long the message of a call without a key may take that is answered once."""
NEXT_MESSAGE_SECONDS = 60
"""How long each later one may."""
MESSAGES_BY_KEY = 32 << 20
MESSAGES_IN_ALL = 128 << 20
"""Bytes of messages that calls work on. Those up to `SMALL_BYTES` are not counted."""

NO_PEER = ""
"""The peer of what came through a trusted proxy, or the control socket: its connection is not
closed, since it carries the calls of others too."""
NO_MESSAGE = "The call ended without a message"
_NOT_COUNTED = nullcontext()

_Metadata = Iterable[tuple[str, Any]]

log = logging.getLogger(__name__)


class Call(NamedTuple):
    """What a method may know of the call that it serves, beside the request."""

    who: Principal
    metadata: Mapping[str, str | bytes]


class Calls(grpc.GenericRpcHandler):
    """Gives methods a `Call` in place of grpc's context, and turns what they raise into statuses.

    Methods that stream their reply are async generators; this class writes what they yield. Each
    write waits until the client has room, so a slow client holds back its own stream only.

    A stream that may stay quiet yields None first, once all checks have passed: the trace id is
    then sent as initial metadata, so that the client knows it is connected before anything happens.
    """

    def __init__(self, admission: Admission, audit: Audit) -> None:
        self._admission = admission
        self._audit = audit
        self._services: list[grpc.GenericRpcHandler] = []
        self._guarded: dict[str, Any] = {}
        """Method → its handler with all that surrounds it."""
        self._receiving = Receiving(
            PLACES, PLACES_BY_KEY, waiting_by_caller=admission.streams_per_key
        )
        self._keyless = Receiving(
            KEYLESS_PLACES,
            KEYLESS_PLACES_BY_ADDRESS,
            waiting_by_caller=admission.streams_per_address,
        )
        self._checks = Receiving(
            CHECK_PLACES,
            CHECK_PLACES_BY_ADDRESS,
            waiting_by_caller=admission.calls_per_address,
            least_seconds=CHECK_LEAST_SECONDS,
        )
        self._messages = ByteBudget("messages", by_caller=MESSAGES_BY_KEY, in_all=MESSAGES_IN_ALL)
        self._sending = Sending()
        self._streams: set[asyncio.Task[Any]] = set()
        self._closing = False

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Where generated code adds a service: in place of a server."""
        self._services += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Generated code adds every method once more, one by one: not needed."""

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is None:
            found = (service.service(handler_call_details) for service in self._services)
            handler = next(filter(None, found), None)
            if handler is None:
                return None
            # Known methods only get here, so the names that clients invent don't fill memory.
            own = method.startswith(OWN_SERVICES)
            guarded = self._own(method, handler) if own else self._standard(method, handler)
            self._guarded[method] = guarded
        return guarded

    def close_streams(self) -> None:
        """End every open stream, and what waits for a message, with UNAVAILABLE; calls that have
        their message and are answered once go on."""
        self._closing = True
        for receiving in (self._receiving, self._keyless, self._checks):
            receiving.close(_shutting_down())
        for stream in list(self._streams):
            stream.cancel()

    def _standard(self, method: str, handler: Any) -> Any:
        """Of health and reflection, which need no key. What is answered once (`Health/Check`) and
        streams are limited apart: streams last, and must not keep out a probe."""
        is_stream = handler.request_streaming or handler.response_streaming
        if is_stream:
            hold, receiving = self._admission.keyless_stream, self._keyless
        else:
            hold, receiving = self._admission.keyless_call, self._checks

        async def stream_stream(_: object, context: Any) -> None:
            peer = context.peer()
            try:
                client = self._client_of(peer, context.invocation_metadata() or ())
                if client != address_of(peer):
                    peer = NO_PEER
                with hold(client):
                    caller = caller_of(client)
                    seconds = MESSAGE_SECONDS if is_stream else CHECK_SECONDS
                    messages = self._received(receiving, caller, context, seconds)
                    writer = _Writer(handler, self._sending, caller, peer, context)
                    request = messages if handler.request_streaming else await _only(messages)
                    await writer.reply(request, context)
            except RequestError as error:
                log.debug("%s: %s", method, error.code)
                await context.abort(*failure(error.with_traceback(None), new_trace(None)))

        return grpc.stream_stream_rpc_method_handler(
            stream_stream, handler.request_deserializer, None
        )

    async def _received(
        self, receiving: Receiving, caller: str, context: Any, seconds: float
    ) -> AsyncGenerator[Any]:
        """The messages of a call, the first within `seconds`. Raises what `Receiving.receive`
        does."""
        late = _late(seconds)
        while True:
            message = await receiving.receive(caller, context.read, seconds, late)
            if message is grpc.aio.EOF:
                return
            yield message
            seconds = NEXT_MESSAGE_SECONDS
            late = f"Nothing of the call came for {seconds} s"

    def _own(self, method: str, handler: Any) -> Any:
        """The handler as one of streamed requests, which are parsed here rather than by grpc: it
        answers UNKNOWN and the parser's own words to bytes that it can't read."""

        late = _late(MESSAGE_SECONDS)

        def messages_of(caller: str, context: Any) -> AsyncGenerator[Any]:
            return self._received(self._receiving, caller, context, MESSAGE_SECONDS)

        def parse(data: bytes) -> Any:
            try:
                return handler.request_deserializer(data)
            except DecodeError as error:
                raise BadRequest("The request is not a valid message of this method") from error

        def held(call: Call, data: bytes) -> AbstractContextManager[None]:
            if len(data) <= SMALL_BYTES:
                return _NOT_COUNTED
            return self._messages.hold(call.who.key_id, len(data))

        async def answer_unary(call: Call, peer: str, context: Any) -> bytes:
            caller = call.who.key_id
            data = await self._receiving.receive(caller, context.read, MESSAGE_SECONDS, late)
            if data is grpc.aio.EOF:
                raise BadRequest(NO_MESSAGE)
            self._admission.check(call.who)  # the key may have been revoked meanwhile
            with held(call, data):
                reply: bytes = serialize(await handler.unary_unary(parse(data), call))
            self._sending.last(caller, peer, len(reply))
            return reply

        async def answer_unary_stream(call: Call, peer: str, context: Any) -> None:
            caller = call.who.key_id
            data = await _only(messages_of(caller, context))
            with held(call, data):
                await _Writer(handler, self._sending, caller, peer, context).reply(
                    parse(data), call
                )

        async def answer_stream_unary(call: Call, peer: str, context: Any) -> bytes:
            caller = call.who.key_id

            async def requests() -> AsyncGenerator[Any]:
                async with aclosing(messages_of(caller, context)) as messages:
                    async for data in messages:
                        with held(call, data):
                            yield parse(data)

            async with aclosing(requests()) as parsed:
                reply: bytes = serialize(await handler.stream_unary(parsed, call))
            self._sending.last(caller, peer, len(reply))
            return reply

        async def unary_unary(_: object, context: Any) -> Any:
            return await self._serve(method, context, answer_unary)

        async def unary_stream(_: object, context: Any) -> None:
            await self._serve(method, context, answer_unary_stream, stream=True)

        async def stream_unary(_: object, context: Any) -> Any:
            return await self._serve(method, context, answer_stream_unary, stream=True)

        serialize = handler.response_serializer
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(unary_stream, None, None)
        of = stream_unary if handler.request_streaming else unary_unary
        return grpc.stream_unary_rpc_method_handler(of, None, None)

    async def _serve(
        self,
        method: str,
        context: Any,
        answer: Callable[[Call, str, Any], Awaitable[Any]],
        *,
        stream: bool = False,
    ) -> Any:
        pairs = context.invocation_metadata() or ()
        metadata = dict(pairs)
        secret = _key_in(metadata)
        peer = context.peer()
        trace_id = new_trace(metadata.get("traceparent"), metadata.get("x-request-id"))
        current_trace.set(trace_id)
        context.set_trailing_metadata(((TRACE_KEY, trace_id),))
        told: RequestError | None = None
        who: Principal | None = None
        try:
            who = self._admit(peer, pairs, secret)
            call = Call(who, metadata)
            if who.address != address_of(peer):
                peer = NO_PEER
            if not stream:
                return await answer(call, peer, context)
            with self._open_stream(), self._admission.while_valid(call.who):
                return await answer(call, peer, context)
        except RequestError as error:
            # Its traceback keeps messages and replies until the garbage is collected, in cycles.
            told = error.with_traceback(None)
            if isinstance(error, (Forbidden, Unauthorized)):
                self._audit.refused(who, self._client_of(peer, pairs), method, error)
        except Exception as error:
            if isinstance(error, grpc.aio.InternalError):
                await _gone(context)  # or grpc.aio takes the failed write for a fault of its own
            if context.cancelled():
                raise  # The client has gone; writing to it fails, and nobody reads the reason.
            log.exception("%s failed", method)
        return await context.abort(*failure(told, trace_id))

    def _admit(self, peer: str, metadata: _Metadata, secret: str | None) -> Principal:
        """The control socket's file mode is its lock: who comes that way is the owner, or whoever
        the key names that they show. Everyone else shows a key."""
        if peer.startswith("unix:"):
            if secret is None:
                return self._admission.local
            return self._admission.admit(secret, self._admission.local.address).principal
        return self._admission.admit(secret, self._client_of(peer, metadata)).principal

    def _client_of(self, peer: str, metadata: _Metadata) -> str:
        forwarded_for = ",".join([value for name, value in metadata if name == "x-forwarded-for"])
        return self._admission.client_of(address_of(peer), forwarded_for)

    @contextmanager
    def _open_stream(self) -> Iterator[None]:
        """Count the running task as a stream that `close_streams` ends."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # grpc.aio serves every call in a task
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


async def _gone(context: Any) -> None:
    """A write has failed: grpc.aio is about to hear that the client has left."""
    left = asyncio.Event()
    context.add_done_callback(lambda _: left.set())
    if not context.done():
        with suppress(TimeoutError):
            await asyncio.wait_for(left.wait(), GONE_SECONDS)


def _late(seconds: float) -> str:
    return f"The call's message did not come within {seconds} s"


async def _only(messages: AsyncGenerator[Any]) -> Any:
    """The message of a call that has one. Raises BadRequest."""
    async with aclosing(messages):
        async for message in messages:
            return message
    raise BadRequest(NO_MESSAGE)


class _Writer:
    """Writes all that a method answers, each message as a counted reply."""

    def __init__(
        self, handler: Any, sending: Sending, caller: str, peer: str, context: Any
    ) -> None:
        self._handler = handler
        self._sending = sending
        self._caller = caller
        self._peer = peer
        self._context = context

    async def reply(self, request: Any, call: Any) -> None:
        handler = self._handler
        if not handler.response_streaming:
            await self._write(await (handler.unary_unary or handler.stream_unary)(request, call))
            return
        answer = handler.unary_stream or handler.stream_stream
        async with aclosing(answer(request, call)) as messages:
            async for message in messages:
                if message is None:
                    trace = ((TRACE_KEY, current_trace.get()),)
                    await self._context.send_initial_metadata(trace)
                else:
                    await self._write(message)

    async def _write(self, message: Any) -> None:
        data = self._handler.response_serializer(message)
        with self._sending.write(self._caller, self._peer, len(data)):
            await self._context.write(data)


@functools.lru_cache(maxsize=4096)
def address_of(peer: str) -> str:
    """The address in grpc's name of a peer: `ipv6:%5B::1%5D:5000` is `::1`."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
