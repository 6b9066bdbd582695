"""The client's calls: its connection, its retries, and streams that resume."""

import asyncio
import copy
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message

from fetchml.client.aio.threads import in_threads
from fetchml.client.connection import CHANNEL_OPTIONS, find_endpoint
from fetchml.client.cursors import WatchCursor
from fetchml.client.errors import CallError, DeadlineExceeded, Unreachable, call_error
from fetchml.client.rpc import Backoff, CallRetries, Options, Rpc, is_accepted
from fetchml.v1.task_pb2 import WatchTasksResponse

Reply = TypeVar("Reply")


class AsyncCalls:
    """A connection to a server, and the ways to call it.

    `call`, `send` and `stream` also serve RPCs without their own method.
    """

    def __init__(
        self,
        server: str | None = None,
        key: str | None = None,
        *,
        tls_ca: str | Path | None = None,
        options: Options = Options(),  # noqa: B008  # a tuple
    ) -> None:
        """Connect on the first call.

        `server` is HOST:PORT, or https://HOST:PORT for TLS. `key` is the API key; an empty string
        sends none. `tls_ca` is a PEM file with the certificate authorities to trust. `None` takes
        the value of FETCHML_SERVER, FETCHML_API_KEY or FETCHML_TLS_CA. Raises SetupError.
        """
        self._endpoint = find_endpoint(server, key, tls_ca)
        self._options = options
        address, credentials = self._endpoint.address, self._endpoint.credentials
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, CHANNEL_OPTIONS)

    @property
    def server(self) -> str:
        """The server's address, as it was given."""
        return self._endpoint.server

    async def close(self) -> None:
        """Close the connection, and with it every open call, including those of clients that
        `with_options` returned."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def with_options(
        self,
        *,
        deadline: float | None = None,
        patience: float | None = None,
        retries: bool | None = None,
        on_cut: Callable[[CallError], None] | None = None,
    ) -> Self:
        """Return a client that shares this connection but calls with other Options.

        `None` keeps the option.
        """
        other = copy.copy(self)
        other._options = self._options.changed(deadline, patience, retries, on_cut)  # noqa: SLF001
        return other

    async def call(self, rpc: Rpc[Reply]) -> Reply:
        """Call an RPC with one request and one reply. Retries until the deadline while the server
        is unreachable or busy."""
        method = self._channel.unary_unary(*rpc.wire)
        return await self._retried(rpc, lambda: rpc.request, method, self._options.deadline)

    async def send(
        self, rpc: Rpc[Reply], messages: Callable[[], Iterator[Message]], deadline: float | None
    ) -> Reply:
        """Call an RPC with a stream of requests. Each try sends `messages()` from the start.

        `deadline` is in seconds; `None` if the call may take any time.
        """
        method = self._channel.stream_unary(*rpc.wire)
        return await self._retried(rpc, lambda: in_threads(messages()), method, deadline)

    async def stream(
        self,
        rpc: Rpc[Reply],
        *,
        timeout: float | None = None,
        on_accepted: Callable[[], None] | None = None,
    ) -> AsyncGenerator[Reply]:
        """Yield the messages of a stream of replies, without retries.

        Closing the iterator ends the call, and `timeout` seconds after its start it fails with
        DeadlineExceeded. `on_accepted` is called once the server accepts the stream, before the
        first message.
        """
        method = self._channel.unary_stream(*rpc.wire)
        messages = method(rpc.request, metadata=self._endpoint.metadata, timeout=timeout)
        try:
            if on_accepted is not None and is_accepted(await messages.initial_metadata()):
                on_accepted()
            async for message in messages:
                yield message
        except grpc.RpcError as error:
            raise call_error(error, self.server) from error
        finally:
            messages.cancel()

    async def converse(
        self, rpc: Rpc[Reply], messages: Callable[[], Iterator[Message]]
    ) -> AsyncGenerator[Reply]:
        """Send `messages()` as they come, and yield the replies, without retries.

        Closing the iterator ends the call.
        """
        method = self._channel.stream_stream(*rpc.wire)
        replies = method(in_threads(messages()), metadata=self._endpoint.metadata)
        try:
            async for reply in replies:
                yield reply
        except grpc.RpcError as error:
            raise call_error(error, self.server) from error
        finally:
            replies.cancel()

    async def _retried(
        self,
        rpc: Rpc[Reply],
        request: Callable[[], object],
        method: Callable[..., Awaitable[Reply]],
        deadline: float | None,
    ) -> Reply:
        retries = CallRetries(rpc, self._options, self.server, deadline)
        metadata = self._endpoint.metadata
        while True:
            try:
                return await method(request(), metadata=metadata, timeout=retries.timeout())
            except grpc.RpcError as error:
                pause = retries.pause(error)
            if pause is None:
                return rpc.reply()
            await asyncio.sleep(pause)

    async def _changes(
        self, cursor: WatchCursor, until: float | None = None
    ) -> AsyncGenerator[WatchTasksResponse]:
        """Yield the updates of a watch, resumed after every lost connection.

        Raises TimeoutError when `time.monotonic()` reaches `until`.
        """
        backoff = Backoff(self._options.patience)
        while True:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("Timed out: the task has not ended")
            try:
                stream = self.stream(cursor.rpc(), timeout=left, on_accepted=backoff.reset)
                async with aclosing(stream) as changes:
                    async for change in changes:
                        backoff.reset()
                        for update in cursor.receive(change):
                            yield update
                cut: CallError = Unreachable("The stream has ended")
            except DeadlineExceeded as failed:
                if left is not None:
                    continue
                cut = failed
            except CallError as failed:
                cut = failed
            await self._pause(backoff, cut, left)

    async def _newest(self, rpc: Rpc[Reply]) -> AsyncGenerator[Reply]:
        """Yield the messages of a stream whose first message is the newest state: after a lost
        connection it starts over."""
        backoff = Backoff(self._options.patience)
        while True:
            try:
                async with aclosing(self.stream(rpc)) as messages:
                    async for message in messages:
                        backoff.reset()
                        yield message
                cut: CallError = Unreachable("The stream has ended")
            except CallError as failed:
                cut = failed
            await self._pause(backoff, cut)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _pause(self, backoff: Backoff, cut: CallError, longest: float | None = None) -> None:
        """Wait before a stream is resumed, `longest` seconds at most. Raises `cut` if resuming it
        is of no use."""
        pause = backoff.pause(cut)
        if self._options.on_cut is not None:
            self._options.on_cut(cut)
        await asyncio.sleep(pause if longest is None else min(pause, longest))
