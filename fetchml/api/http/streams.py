"""Replies that go on until somebody ends them: the task, the client, or the server's shutdown."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, nullcontext

from aiohttp import web

from fetchml.api.http.connection import Connection
from fetchml.api.http.request import RestRequest
from fetchml.errors import Unavailable


class Streams:
    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()
        self._reason: str | None = None

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def open(self, request: RestRequest, *, keyless: bool = False) -> Iterator[None]:
        """Around a stream. When the client leaves, what is inside is cancelled.

        Raises TooManyStreams; and, from inside too, Unavailable when the server shuts down, and
        Unauthorized when the key stops working. `keyless`: nobody asked for a key.
        """
        if reason := self._why_closed():
            raise Unavailable(reason)
        task = asyncio.current_task()
        connection = request.http.protocol
        assert task is not None and isinstance(connection, Connection)  # noqa: S101, PT018  # always
        self._open.add(task)
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
            self._open.discard(task)

    def _why_closed(self) -> str | None:
        return self._reason

    async def close(self, reason: str, timeout_seconds: float) -> None:
        """Ends all streams, and lets no new one begin. Waits until clients have been told."""
        self._reason = reason
        ending = list(self._open)
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending, timeout=timeout_seconds)


@contextmanager
def ended_with_client(request: RestRequest) -> Iterator[None]:
    """When the client leaves, what is inside is cancelled."""
    connection = request.http.protocol
    assert isinstance(connection, Connection)  # noqa: S101  # always
    connection.stream = asyncio.current_task()
    try:
        yield
    finally:
        connection.stream = None


async def send_pieces(
    request: RestRequest,
    headers: Mapping[str, str],
    pieces: AsyncGenerator[bytes],
    timeout_seconds: float,
    status: int = 200,
) -> web.StreamResponse:
    """Send the pieces as they come, as fast as the client takes them.

    What is raised on the way breaks the connection off, so that no client takes a part for the
    whole. `timeout_seconds`: a client that takes nothing for so long is let go.
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
    """Drop the connection with all that waits to be sent: closing it would wait for the client."""
    if request.transport is not None:
        request.transport.abort()
