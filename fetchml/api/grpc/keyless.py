"""Calls of the standard services, health and reflection, which need no API key.

Their number is limited by address. Calls with a single reply (`Health/Check`) and streams have
separate limits: streams last, and must not keep out a probe.
"""

import logging
from typing import Any

import grpc

from fetchml.api.grpc import receiving
from fetchml.api.grpc.call import client_of
from fetchml.api.grpc.errors import failure
from fetchml.api.grpc.receiving import (
    CHECK_LEAST_SECONDS,
    CHECK_PLACES,
    CHECK_PLACES_BY_ADDRESS,
    KEYLESS_PLACES,
    KEYLESS_PLACES_BY_ADDRESS,
    MessagePlaces,
)
from fetchml.api.grpc.sending import ReplyWriter, UnreadReplies
from fetchml.api.trace import new_trace
from fetchml.auth.admission import Admission
from fetchml.config.proxies import caller_of
from fetchml.errors import RequestError

log = logging.getLogger(__name__)


class KeylessCalls:
    """Wraps the methods of the standard services with limits."""

    def __init__(self, admission: Admission, unread: UnreadReplies) -> None:
        self._admission = admission
        self._unread = unread
        self._streams = MessagePlaces(
            KEYLESS_PLACES,
            KEYLESS_PLACES_BY_ADDRESS,
            waiting_by_caller=admission.streams_per_address,
        )
        self._checks = MessagePlaces(
            CHECK_PLACES,
            CHECK_PLACES_BY_ADDRESS,
            waiting_by_caller=admission.calls_per_address,
            least_seconds=CHECK_LEAST_SECONDS,
        )

    def wrap(self, method: str, handler: Any) -> Any:
        """Return the method's handler with limits around it."""
        is_stream = handler.request_streaming or handler.response_streaming
        if is_stream:
            hold, places = self._admission.keyless_stream, self._streams
        else:
            hold, places = self._admission.keyless_call, self._checks

        async def stream_stream(_: object, context: Any) -> None:
            metadata = context.invocation_metadata() or ()
            try:
                client = client_of(self._admission, context.peer(), metadata)
                with hold(client):
                    caller = caller_of(client)
                    seconds = receiving.MESSAGE_SECONDS if is_stream else receiving.CHECK_SECONDS
                    requests = receiving.read_messages(places, caller, context, seconds)
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
