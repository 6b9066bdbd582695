"""Outputs of a task over REST."""

from contextlib import closing
from urllib.parse import quote

from aiohttp import web

from fetchml.api.http.query import Query
from fetchml.api.http.ranges import Part, is_unchanged, requested_part
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import Streams, send_pieces
from fetchml.api.mappings import OUTPUT
from fetchml.engine.engine import Engine

_ARCHIVES = {"zip": "application/zip", "tar": "application/x-tar"}


class OutputOperations:
    def __init__(self, engine: Engine, streams: Streams, *, send_timeout_seconds: float) -> None:
        self._engine = engine
        self._streams = streams
        self._send_timeout_seconds = send_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/tasks/{id}/outputs", self.list_outputs),
            Route("GET", "/v1/tasks/{id}/outputs/{path...}", self.output),
            Route("GET", "/v1/tasks/{id}/archive", self.archive),
        ]

    async def list_outputs(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        query = Query(request.http, "limit", "offset", "folder")
        folder = query.text("folder")
        files = query.cut(await self._engine.outputs.list(request.principal, task_id, folder))
        body = {"outputs": await request.rows(OUTPUT.json, files)}
        return request.json(body, ignored=query.ignored)

    async def output(self, request: RestRequest, task_id: str, path: str) -> web.StreamResponse:
        folder = Query(request.http, "folder").text("folder")
        file = await self._engine.outputs.open(request.principal, task_id, path, folder)
        with closing(file), request.while_valid():
            size, etag = file.size, file.etag
            headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
            if is_unchanged(request.http, etag):
                return web.Response(status=304, headers=request.headers(headers))
            part = requested_part(request.http, etag, size)
            sent = Part(0, size) if part is None else part
            headers |= {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(sent.size),
                "Content-Disposition": attachment(path.rpartition("/")[2]),
                "X-Content-Type-Options": "nosniff",
            }
            if part is not None:
                headers["Content-Range"] = part.content_range(size)
            return await send_pieces(
                request,
                headers,
                file.pieces(sent.first, sent.size),
                self._send_timeout_seconds,
                200 if part is None else 206,
            )

    async def archive(self, request: RestRequest, task_id: str) -> web.StreamResponse:
        form = Query(request.http, "format").text("format") or "zip"
        archive = self._engine.outputs.archive(request.principal, task_id, form)
        with self._streams.open(request):
            async with archive as opened:
                headers = {
                    "Content-Type": _ARCHIVES[form],
                    "Content-Disposition": attachment(opened.name),
                    "X-Content-Type-Options": "nosniff",
                }
                return await send_pieces(
                    request, headers, opened.pieces, self._send_timeout_seconds
                )


def attachment(name: str) -> str:
    """Return the header that names a download. The name may hold any text."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
