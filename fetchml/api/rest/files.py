"""Files of a task over REST: its log, which may still grow, and its outputs."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from fetchml.api.file_pieces import pieces_of, size_of
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import Streams, send_pieces
from fetchml.api.mappings import OUTPUT
from fetchml.errors import Unavailable

if TYPE_CHECKING:
    from fetchml.engine.engine import Engine


class FileOperations:
    def __init__(self, engine: "Engine", streams: Streams, *, send_timeout_seconds: float) -> None:
        self._engine = engine
        self._streams = streams
        self._send_timeout_seconds = send_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/tasks/{id}/logs", self.logs),
            Route("GET", "/v1/tasks/{id}/outputs", self.list_outputs),
            Route("GET", "/v1/tasks/{id}/outputs/{path...}", self.output),
        ]

    async def logs(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "follow", "offset")
        follow, offset = query.flag("follow"), query.number("offset") or 0
        # Look up the task before the reply begins: afterwards a 404 is no longer possible.
        await self._engine.get_task(request.principal, task_id)
        headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
        pieces = self._log(request, task_id, offset=offset, follow=follow)
        with self._streams.open(request):
            return await send_pieces(request, headers, pieces, self._send_timeout_seconds)

    async def list_outputs(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "limit", "offset")
        files = query.cut(await self._engine.list_outputs(request.principal, task_id))
        body = {"outputs": await request.rows(OUTPUT.json, files)}
        return request.json(body, ignored=query.ignored)

    async def output(self, request: RestRequest, task_id: str, path: str) -> web.StreamResponse:
        file = await self._engine.open_output(request.principal, task_id, path)
        with closing(file), request.while_valid():
            size = size_of(file)
            name = quote(path.rpartition("/")[2], safe="")
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(size),
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                "X-Content-Type-Options": "nosniff",
            }
            return await send_pieces(
                request, headers, pieces_of(file, size), self._send_timeout_seconds
            )

    async def _log(
        self, request: RestRequest, task_id: str, *, offset: int, follow: bool
    ) -> AsyncGenerator[bytes]:
        chunks = self._engine.read_logs(request.principal, task_id, offset=offset, follow=follow)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk.data
        if follow and self._engine.status.draining:
            raise Unavailable("The server is shutting down: the task may write more")
