"""Outputs of a task over REST: lists, archives, and files or parts of them (RFC 9110)."""

import re
from contextlib import closing
from typing import NamedTuple
from urllib.parse import quote

from aiohttp import web

from fetchml.api.http.errors import RangeNotSatisfiable
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import Streams, send_pieces
from fetchml.api.message_fields import OUTPUT
from fetchml.engine.engine import Engine
from fetchml.files.reads import OpenedFile

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
        return await send_file(request, file, path, self._send_timeout_seconds)

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


async def send_file(
    request: RestRequest, file: OpenedFile, path: str, timeout_seconds: float
) -> web.StreamResponse:
    """Send a file, or the part of it that the client requests, and close it."""
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
            timeout_seconds,
            200 if part is None else 206,
        )


def attachment(name: str) -> str:
    """Return the header that names a download. The name may hold any text."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII | re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"', re.ASCII)


class Part(NamedTuple):
    first: int
    size: int

    def content_range(self, whole: int) -> str:
        return f"bytes {self.first}-{self.first + self.size - 1}/{whole}"


def is_unchanged(request: web.BaseRequest, etag: str) -> bool:
    """Return whether the client has the file already: `If-None-Match`."""
    given = ",".join(request.headers.getall("If-None-Match", ()))
    return given.strip() == "*" or etag in _TAG.findall(given)


def requested_part(request: web.BaseRequest, etag: str, size: int) -> Part | None:
    """Return the part of a file that the client requests; `None` if it is the whole file.

    Several ranges, malformed ones, and those of a file that has changed meanwhile (`If-Range`)
    count as none, as the RFC allows. Raises RangeNotSatisfiable.
    """
    asked = request.headers.getall("Range", ())
    if request.method != "GET" or len(asked) != 1:
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != f'"{etag}"':
        return None
    match = _RANGE.fullmatch(asked[0].strip())
    if match is None or match[1] == match[2] == "":
        return None
    if not match[1]:  # The last bytes.
        count = min(int(match[2]), size)
        if not count:
            raise RangeNotSatisfiable(size)
        return Part(size - count, count)
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < first:
        return None
    if first >= size:
        raise RangeNotSatisfiable(size)
    return Part(first, last - first + 1)
