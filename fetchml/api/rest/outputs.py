"""Outputs of a task over REST."""

from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from fetchml.api.file_pieces import pieces_of, size_of
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import send_pieces
from fetchml.api.mappings import OUTPUT

if TYPE_CHECKING:
    from fetchml.engine.engine import Engine


class OutputOperations:
    def __init__(self, engine: "Engine", *, send_timeout_seconds: float) -> None:
        self._engine = engine
        self._send_timeout_seconds = send_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/tasks/{id}/outputs", self.list_outputs),
            Route("GET", "/v1/tasks/{id}/outputs/{path...}", self.output),
        ]

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
