"""The log of a task over REST: a part of it, on while it grows, its bounds, and a search in it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web
from msgspec.structs import replace

from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import Streams, send_pieces
from fetchml.api.mappings import LOG_INFO, LOG_MATCH, LOG_MATCHES
from fetchml.core.requests.logs import DEFAULT_MATCHES, LogRange, LogSearch
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
            Route("GET", "/v1/tasks/{id}/logs/info", self.info),
            Route("GET", "/v1/tasks/{id}/logs/search", self.search),
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

    async def info(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "attempt", "offset", "limit")
        wanted = LogRange(
            attempt=query.number("attempt"),
            offset=query.number("offset"),
            limit=query.number("limit"),
        )
        info = await self._engine.logs.info(request.principal, task_id, wanted)
        return request.json(LOG_INFO.json(info), ignored=query.ignored)

    async def search(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "q", "attempt", "offset", "limit", "backwards", "ignore_case")
        limit = query.number("limit")
        wanted = LogSearch(
            query.text("q") or "",
            attempt=query.number("attempt"),
            offset=query.number("offset"),
            limit=DEFAULT_MATCHES if limit is None else limit,
            backwards=query.flag("backwards"),
            ignore_case=query.flag("ignore_case"),
        )
        found = await self._engine.logs.search(request.principal, task_id, wanted)
        body = LOG_MATCHES.json(replace(found, matches=()))
        body["matches"] = await request.rows(LOG_MATCH.json, found.matches)
        return request.json(body, ignored=query.ignored)

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
