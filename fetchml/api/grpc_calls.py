"""What surrounds every call of our own services: trace id, API key, errors, and the drain.

One handler does it for all methods, so that no method can be added without it. Health and
reflection belong to other packages and need no key: each address holds only so many calls of them
open.

It is registered with grpc.aio as one generic handler. An interceptor would do, but costs each call
another coroutine; so does a registration of each method: grpc.aio then sets up a wait for each of
them again at every call, 10 µs for 17 methods.

grpc.aio waits for a call's message before it calls the method, for ever if need be, and takes a
bounded number of calls. Nobody may take up all of those: calls without a key, and those of a key
that has many begun already, are served as streams of messages. These begin without one, so that
what surrounds a call can count it and give it a time; that costs a fifth more.
"""

import asyncio
import functools
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from fetchml.access import Admission
from fetchml.api.grpc_errors import TRACE_KEY, failure
from fetchml.api.trace import new_trace
from fetchml.audit import Audit
from fetchml.core.model import Principal
from fetchml.errors import BadRequest, Forbidden, RequestError, Unauthorized, Unavailable
from fetchml.logs import current_trace

OWN_SERVICES = "/fetchml."
GONE_SECONDS = 1
"""How long grpc.aio may take from a write that failed to knowing that the client has left."""

QUICK_CALLS = 100
"""Calls of one key that may wait for their message in grpc.aio itself."""
FORGET_SECONDS = 3600
"""Calls that ended before their message came are counted as waiting for so long."""
MESSAGE_SECONDS = 30
"""How long a call's first message may take, where it is counted."""

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
        self._guarded: dict[str, tuple[Any, Any]] = {}
        """Method → its quick handler, and the one that begins without a message."""
        self._quick = Counter[str]()
        """Key → its calls that the quick handler was chosen for, and that it has not begun."""
        self._forgotten_at = time.monotonic()
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
            self._guarded[method] = guarded = self._guard(method, handler)
        quick, careful = guarded
        secret = _key_in(dict(handler_call_details.invocation_metadata or ()))
        if quick is None or secret is None or not self._admission.knows(secret):
            return careful
        self._forget()
        if self._quick[secret] >= QUICK_CALLS:
            return careful
        self._quick[secret] += 1
        return quick

    def _forget(self) -> None:
        """grpc.aio tells nobody of a call that ends before its message has come."""
        now = time.monotonic()
        if now - self._forgotten_at > FORGET_SECONDS:
            self._forgotten_at = now
            self._quick.clear()

    def _begun(self, secret: str | None) -> None:
        if secret is not None and self._quick[secret] > 0:
            self._quick[secret] -= 1

    def close_streams(self) -> None:
        """End every open stream with UNAVAILABLE; calls that are answered once go on."""
        self._closing = True
        for stream in list(self._streams):
            stream.cancel()

    def _guard(self, method: str, handler: Any) -> tuple[Any, Any]:
        if not method.startswith(OWN_SERVICES):
            return None, self._keyless(method, handler)
        return self._own(method, handler)

    def _keyless(self, method: str, handler: Any) -> Any:
        async def stream_stream(received: AsyncIterator[Any], context: Any) -> None:
            try:
                client = self._client_of(context.peer(), context.invocation_metadata() or ())
                with self._admission.keyless_stream(client):
                    request = received if handler.request_streaming else await _only(received)
                    await _reply(handler, request, context, context)
            except RequestError as error:
                log.debug("%s: %s", method, error.code)
                await context.abort(*failure(error, new_trace(None)))

        return grpc.stream_stream_rpc_method_handler(
            stream_stream, handler.request_deserializer, handler.response_serializer
        )

    def _own(self, method: str, handler: Any) -> tuple[Any, Any]:
        """The handler with the same shape, its requests parsed here rather than by grpc, which
        answers UNKNOWN and the parser's own words to bytes that it can't read."""

        def parse(data: bytes) -> Any:
            try:
                return handler.request_deserializer(data)
            except DecodeError as error:
                raise BadRequest("The request is not a valid message of this method") from error

        async def unary_unary(data: bytes, context: Any) -> Any:
            def answer(call: Call) -> Awaitable[Any]:
                answer_of: Awaitable[Any] = handler.unary_unary(parse(data), call)
                return answer_of

            return await self._serve(method, context, answer, quick=True)

        async def unary_stream(data: bytes, context: Any) -> None:
            def answer(call: Call) -> Awaitable[None]:
                return _reply(handler, parse(data), call, context)

            await self._serve(method, context, answer, quick=True, stream=True)

        async def stream_unary(received: AsyncIterator[bytes], context: Any) -> Any:
            async def answer(call: Call) -> Any:
                return await handler.stream_unary((parse(data) async for data in received), call)

            return await self._serve(method, context, answer, stream=True)

        async def begun_without_a_message(received: AsyncIterator[bytes], context: Any) -> None:
            async def answer(call: Call) -> None:
                with self._open_stream(), self._admission.while_valid(call.who):
                    data = await _only(received)
                await _reply(handler, parse(data), call, context)

            async def answer_stream(call: Call) -> None:
                request = parse(await _only(received))
                await _reply(handler, request, call, context)

            stream = handler.unary_unary is None
            await self._serve(method, context, answer_stream if stream else answer, stream=stream)

        serialize = handler.response_serializer
        if handler.request_streaming:
            # It begins without a message anyway.
            return None, grpc.stream_unary_rpc_method_handler(stream_unary, None, serialize)
        careful: Any = grpc.stream_stream_rpc_method_handler(
            begun_without_a_message, None, serialize
        )
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(unary_unary, None, serialize), careful
        return grpc.unary_stream_rpc_method_handler(unary_stream, None, serialize), careful

    async def _serve(
        self,
        method: str,
        context: Any,
        answer: Callable[[Call], Awaitable[Any]],
        *,
        quick: bool = False,
        stream: bool = False,
    ) -> Any:
        pairs = context.invocation_metadata() or ()
        metadata = dict(pairs)
        secret = _key_in(metadata)
        if quick:
            self._begun(secret)
        peer = context.peer()
        trace_id = new_trace(metadata.get("traceparent"), metadata.get("x-request-id"))
        current_trace.set(trace_id)
        context.set_trailing_metadata(((TRACE_KEY, trace_id),))
        told: RequestError | None = None
        who: Principal | None = None
        try:
            who = self._admit(peer, pairs, secret)
            call = Call(who, metadata)
            if not stream:
                return await answer(call)
            with self._open_stream(), self._admission.while_valid(call.who):
                return await answer(call)
        except RequestError as error:
            told = error
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
        forwarded_for = ",".join(value for name, value in metadata if name == "x-forwarded-for")
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
            raise Unavailable("The server is shutting down: call again when it is back") from None
        finally:
            self._streams.discard(task)


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


async def _only(received: AsyncIterator[Any]) -> Any:
    """The message of a call that has one. Raises BadRequest."""
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            async for message in received:
                return message
    except TimeoutError:
        raise BadRequest(f"The call's message did not come within {MESSAGE_SECONDS} s") from None
    raise BadRequest("The call ended without a message")


async def _reply(handler: Any, request: Any, call: Any, context: Any) -> None:
    """Call the method, and write all that it answers."""
    if handler.response_streaming:
        answer = handler.unary_stream or handler.stream_stream
        async with aclosing(answer(request, call)) as messages:
            async for message in messages:
                if message is None:
                    await context.send_initial_metadata(((TRACE_KEY, current_trace.get()),))
                else:
                    await context.write(message)
    else:
        answer = handler.unary_unary or handler.stream_unary
        await context.write(await answer(request, call))


@functools.lru_cache(maxsize=4096)
def address_of(peer: str) -> str:
    """The address in grpc's name of a peer: `ipv6:%5B::1%5D:5000` is `::1`."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
