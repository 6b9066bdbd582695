"""The request headers for a part of a file, or for a file that has changed (RFC 9110)."""

import re
from typing import NamedTuple

from aiohttp import web

from fetchml.api.http.errors import RangeNotSatisfiable

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
