"""The standard health service, and limits on the calls of standard services, which need no API key.

The number of those calls is limited by address. Calls with a single reply (`Health/Check`) and
streams have separate limits: streams last, and must not keep out a probe.

The implementation in `grpc_health` holds a lock while it writes to a watcher, so a client without a
key that reads nothing would block all health checks and the shutdown. This one shares nothing.
"""
# ruff: noqa: N802  # methods have the RPCs' names

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fetchml.api.grpc import receiving
from fetchml.api.grpc.call import client_of
from fetchml.api.grpc.errors import failure
from fetchml.api.grpc.receiving import (
    CHECK_LEAST_SECONDS,
    CHECK_PLACES,
    CHECK_PLACES_BY_ADDRESS,
    KEYLESS_PLACES,
    KEYLESS_PLACES_BY_ADDRESS,
    MessageSlots,
)
from fetchml.api.grpc.sending import ReplyWriter, UnreadReplies
from fetchml.api.trace import new_trace
from fetchml.auth.admission import Admission
from fetchml.config.proxies import caller_of
from fetchml.errors import NotFound, RequestError

_Response = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):
    """Reports the server's health for each service. `""` names the server as a whole."""

    def __init__(
        self, services: frozenset[str], accepts_work: Callable[[], bool], *, every: float = 1.0
    ) -> None:
        """`every`: seconds between two checks for a watcher."""
        self._services = services | {""}
        self._accepts_work = accepts_work
        self._every = every

    async def Check(self, request: Any, context: Any) -> Any:
        status = self._status(request.service)
        if status == _Response.SERVICE_UNKNOWN:
            raise NotFound("Service not found")
        return _Response(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        sent = None
        while True:
            status = self._status(request.service)
            if status != sent:
                yield _Response(status=status)
                sent = status
            await asyncio.sleep(self._every)

    def _status(self, service: str) -> int:
        if service not in self._services:
            return int(_Response.SERVICE_UNKNOWN)
        return int(_Response.SERVING if self._accepts_work() else _Response.NOT_SERVING)


log = logging.getLogger(__name__)


class KeylessCalls:
    """Wraps the methods of the standard services with limits."""

    def __init__(self, admission: Admission, unread: UnreadReplies) -> None:
        self._admission = admission
        self._unread = unread
        self._streams = MessageSlots(
            KEYLESS_PLACES,
            KEYLESS_PLACES_BY_ADDRESS,
            waiting_by_caller=admission.streams_per_address,
        )
        self._checks = MessageSlots(
            CHECK_PLACES,
            CHECK_PLACES_BY_ADDRESS,
            waiting_by_caller=admission.calls_per_address,
            least_seconds=CHECK_LEAST_SECONDS,
        )

    def wrap(self, method: str, handler: Any) -> Any:
        """Return the method's handler with limits around it."""
        is_stream = handler.request_streaming or handler.response_streaming
        if is_stream:
            hold, slots = self._admission.keyless_stream, self._streams
        else:
            hold, slots = self._admission.keyless_call, self._checks

        async def stream_stream(_: object, context: Any) -> None:
            metadata = context.invocation_metadata() or ()
            try:
                client = client_of(self._admission, context.peer(), metadata)
                with hold(client):
                    caller = caller_of(client)
                    seconds = receiving.MESSAGE_SECONDS if is_stream else receiving.CHECK_SECONDS
                    requests = receiving.read_messages(slots, caller, context, seconds)
                    writer = ReplyWriter(handler, self._unread, caller, context)
                    request = (
                        requests
                        if handler.request_streaming
                        else await receiving.only_message(requests)
                    )
                    await writer.reply(request, context)
                    return
            except RequestError as error:
                log.debug("%s: %s", method, error.code)
                ended = failure(error, new_trace(None))
            await context.abort(*ended)  # As in `handler`.

        return grpc.stream_stream_rpc_method_handler(
            stream_stream, handler.request_deserializer, None
        )

    def close(self, why: RequestError) -> None:
        """End every call that waits for its message."""
        self._streams.close(why)
        self._checks.close(why)
