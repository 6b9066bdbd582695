"""Snapshots over REST."""

from aiohttp import web

from fetchml.api.http.body import read_pieces
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import Streams
from fetchml.api.mappings import SNAPSHOT
from fetchml.snapshots.service import Snapshots

UPLOAD_BYTES = 256 * 1024
"""Memory of one upload, which is read only as fast as it is stored."""


class SnapshotOperations:
    def __init__(
        self, snapshots: Snapshots, streams: Streams, *, body_timeout_seconds: float
    ) -> None:
        self._snapshots = snapshots
        self._streams = streams
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/snapshots", self.list),
            Route("PUT", "/v1/snapshots", self.upload),
            Route("GET", "/v1/snapshots/{id}", self.get),
            Route("DELETE", "/v1/snapshots/{id}", self.delete),
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

    async def get(self, request: RestRequest, snapshot_id: str) -> web.StreamResponse:
        query = Query(request.http)
        found = self._snapshots.get(request.principal, snapshot_id)
        return request.json(SNAPSHOT.json(found), ignored=query.ignored)

    async def delete(self, request: RestRequest, snapshot_id: str) -> web.StreamResponse:
        await self._snapshots.delete(request.principal, snapshot_id)
        return request.empty()
