"""Snapshots over REST."""

from contextlib import closing

from aiohttp import web

from fetchml.api.http.body import read_pieces
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import Streams, send_pieces
from fetchml.api.message_fields import SNAPSHOT
from fetchml.api.rest.outputs import attachment
from fetchml.snapshots.snapshot_service import Snapshots

UPLOAD_BYTES = 256 * 1024
"""Memory of one upload, which is read only as fast as it is stored."""


class SnapshotOperations:
    def __init__(
        self,
        snapshots: Snapshots,
        streams: Streams,
        *,
        body_timeout_seconds: float,
        send_timeout_seconds: float,
    ) -> None:
        self._snapshots = snapshots
        self._streams = streams
        self._body_timeout_seconds = body_timeout_seconds
        self._send_timeout_seconds = send_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/snapshots", self.list),
            Route("PUT", "/v1/snapshots", self.upload),
            Route("GET", "/v1/snapshots/{id}/files/{path...}", self.file),
        ]

    async def upload(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "git_commit", "git_dirty")
        dirty = query.flag("git_dirty") if query.text("git_dirty") is not None else None
        pieces = read_pieces(
            request.http,
            max_bytes=self._snapshots.max_bytes,
            stall_seconds=self._body_timeout_seconds,
        )
        request.hold_body(UPLOAD_BYTES)
        with self._streams.open(request):
            kept, is_new = await self._snapshots.upload(
                request.principal, pieces, git_commit=query.text("git_commit"), git_dirty=dirty
            )
        status = 201 if is_new else 200
        return request.json(SNAPSHOT.json(kept), status=status, ignored=query.ignored)

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "limit", "offset")
        found = query.cut(self._snapshots.list(request.principal))
        body = {"snapshots": await request.rows(SNAPSHOT.json, found)}
        return request.json(body, ignored=query.ignored)

    async def file(self, request: RestRequest, snapshot_id: str, path: str) -> web.StreamResponse:
        opened = await self._snapshots.reads.open(request.principal, snapshot_id, path)
        with closing(opened) as file, request.while_valid():
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(file.size),
                "Content-Disposition": attachment(path.rpartition("/")[2]),
                "X-Content-Type-Options": "nosniff",
            }
            return await send_pieces(
                request, headers, file.pieces(0, file.size), self._send_timeout_seconds
            )
