"""The log of a task over REST: a part of it, on while it grows, its bounds, and a search in it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import Streams, send_pieces
from fetchml.core.requests.logs import LogRange
from fetchml.engine.engine import Engine
from fetchml.errors import Unavailable
from fetchml.views import LogChunk, LogStart


class LogOperations:
    def __init__(self, engine: Engine, streams: Streams, *, send_timeout_seconds: float) -> None:
        self._engine = engine
        self._streams = streams
        self._send_timeout_seconds = send_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/tasks/{id}/logs", self.read),
        ]

    async def read(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "follow", "attempt", "offset", "limit", "tail", "since")
        follow = query.flag("follow")
        wanted = LogRange(
            attempt=query.number("attempt"),
            offset=query.number("offset"),
            tail=query.number("tail"),
            since=query.time("since"),
            limit=query.number("limit"),
        )
        with self._streams.open(request):
            # Look up the task before the reply begins: afterwards a 404 is no longer possible.
            start = await self._engine.logs.start(request.principal, task_id, wanted)
            chunks = self._engine.logs.read(
                request.principal, task_id, wanted, start=start, follow=follow
            )
            async with aclosing(chunks):
                # Old bytes may be dropped at any time: the first chunk has the offset that holds.
                first = None if follow else await anext(chunks, None)
                headers = _headers(start, first)
                pieces = self._pieces(first, chunks, follow=follow)
                return await send_pieces(request, headers, pieces, self._send_timeout_seconds)

    async def _pieces(
        self, first: LogChunk | None, chunks: AsyncGenerator[LogChunk], *, follow: bool
    ) -> AsyncGenerator[bytes]:
        if first is not None:
            yield first.data
        async for chunk in chunks:
            yield chunk.data
        if follow and self._engine.status.draining:
            raise Unavailable("The server is shutting down: the task may write more")


def _headers(start: LogStart, first: LogChunk | None) -> dict[str, str]:
    offset = start.offset if first is None else first.offset
    end = start.end if first is None else max(start.end, first.offset + len(first.data))
    return {
        "Content-Type": "text/plain; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
        "X-FetchML-Log-Attempt": str(start.attempt),
        "X-FetchML-Log-Offset": str(offset),
        "X-FetchML-Log-End": str(end),
    }
