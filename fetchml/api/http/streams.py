"""Streamed replies, which last until the task, the client or the server's shutdown ends them."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, nullcontext
from typing import cast

from aiohttp import web

from fetchml.api.http.connection import Connection
from fetchml.api.http.request import RestRequest
from fetchml.errors import Unavailable


class Streams:
    """The open streams of the HTTP server, which `close` ends together."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Future[None], asyncio.Task[object]] = {}
        """The end of each stream → the task that serves it, and then other requests."""
        self._farewells: set[asyncio.Future[None]] = set()
        """The ends of handshakes that close a WebSocket after its stream."""
        self._reason: str | None = None

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def open(self, request: RestRequest, *, keyless: bool = False) -> Iterator[None]:
        """Count the enclosed stream as open, and cancel it when the client disconnects.

        Raises TooManyStreams. Raises Unavailable when the server shuts down, and Unauthorized when
        the API key stops working, from within the stream too. `keyless`: the operation needs no
        API key.
        """
        if reason := self._why_closed():
            raise Unavailable(reason)
        task = asyncio.current_task()
        connection = request.http.protocol
        assert task is not None and isinstance(connection, Connection)  # noqa: S101, PT018  # always
        ended = asyncio.get_running_loop().create_future()
        self._open[ended] = task
        try:
            with ended_with_client(request), nullcontext() if keyless else request.while_valid():
                yield
        except asyncio.CancelledError:
            reason = self._why_closed()
            if reason is None or not connection.connected:
                raise
            task.uncancel()
            raise Unavailable(reason) from None
        finally:
            del self._open[ended]
            ended.set_result(None)

    @contextmanager
    def farewell(self) -> Iterator[None]:
        """Let `close` wait for the enclosed code, which also closes a WebSocket after its stream:
        once the server stops, connections do not read what clients answer."""
        ended = asyncio.get_running_loop().create_future()
        self._farewells.add(ended)
        try:
            yield
        finally:
            self._farewells.remove(ended)
            ended.set_result(None)

    def _why_closed(self) -> str | None:
        return self._reason

    async def close(self, reason: str, timeout_seconds: float) -> None:
        """End all streams and reject new ones. Waits until clients have been sent the reason; that
        of an error reply is sent as those of other requests."""
        self._reason = reason
        ending = [*self._open, *self._farewells]
        for task in self._open.values():
            task.cancel()
        if ending:
            await asyncio.wait(ending, timeout=timeout_seconds)


class ended_with_client:  # noqa: N801 - used as a function
    """Cancel the enclosed code when the client disconnects."""

    __slots__ = ("_connection",)

    def __init__(self, request: RestRequest) -> None:
        self._connection = cast("Connection", request.http.protocol)

    def __enter__(self) -> None:
        self._connection.stream = asyncio.current_task()

    def __exit__(self, *_: object) -> None:
        self._connection.stream = None


async def send_pieces(
    request: RestRequest,
    headers: Mapping[str, str],
    pieces: AsyncGenerator[bytes],
    timeout_seconds: float,
    status: int = 200,
) -> web.StreamResponse:
    """Send the pieces as they become available, as fast as the client reads them.

    An error while sending breaks the connection, so that no client mistakes a part for the whole.
    `timeout_seconds`: the connection is closed if the client reads nothing for this long.
    """
    response = web.StreamResponse(status=status, headers=request.headers(headers))
    await response.prepare(request.http)
    if request.http.method == "HEAD":
        return response
    async with aclosing(pieces):
        async for piece in pieces:
            try:
                async with asyncio.timeout(timeout_seconds):
                    await response.write(piece)
            except TimeoutError:
                abort(request.http)
                raise ConnectionAbortedError from None
    return response


def abort(request: web.BaseRequest) -> None:
    """Drop the connection together with unsent bytes; closing it would wait for the client."""
    if request.transport is not None:
        request.transport.abort()
