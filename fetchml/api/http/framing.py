"""Requests that a proxy in front may have read differently: where they end, and where they lead.

aiohttp's parser rejects most of them. What it accepts, `checked` rejects, and `is_last` makes the
last request of its connection: bytes that follow are then never answered as another request.
"""

import re

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from yarl import URL

from fetchml.errors import BadRequest

MAX_LENGTH_DIGITS = 18
"""Digits of Content-Length: each number of as many fits into 64 bits, with a sign too."""

_HOST = re.compile(r"([A-Za-z0-9._~!$&'()*+;=%-]{0,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{0,5})?")
"""RFC 3986, section 3.2, without the comma, which would join two hosts."""
_hosts = set[str]()
"""Valid hosts of earlier requests: most requests name the same few."""
MAX_HOSTS = 256
_ABSOLUTE = re.compile("https?://([^/?]*)(.*)", re.IGNORECASE)


def is_last(request: web.BaseRequest) -> bool:
    """Return whether no further request of this connection is answered. A proxy may see another end
    in chunks, and aiohttp takes the last of their trailers for a header of the request behind them.
    It drops bytes behind an upgrade that it ignores."""
    headers = request.headers
    return (
        hdrs.TRANSFER_ENCODING in headers
        or hdrs.UPGRADE in headers
        or request.method == hdrs.METH_CONNECT
    )


def checked(request: web.BaseRequest) -> web.BaseRequest:
    """Return the request, with a path as its target. Raises BadRequest if it is ambiguous."""
    target, headers = request.raw_path, request.headers
    if (
        target[0] == "/"
        and "#" not in target
        and request.version == HttpVersion11
        and hdrs.TRANSFER_ENCODING not in headers
        and len(headers.get(hdrs.CONTENT_LENGTH, "")) <= MAX_LENGTH_DIGITS
        and headers.get(hdrs.HOST) in _hosts
    ):
        return request
    return _check_unusual(request)


def _check_unusual(request: web.BaseRequest) -> web.BaseRequest:
    headers = request.headers
    if request.version not in (HttpVersion10, HttpVersion11):
        raise BadRequest("Only HTTP/1.0 and HTTP/1.1 are supported")
    if not _is_host(headers.get(hdrs.HOST, "")):
        raise BadRequest("Host: must be one host name or address, perhaps with a port")
    if len(headers.get(hdrs.CONTENT_LENGTH, "")) > MAX_LENGTH_DIGITS:
        raise BadRequest(f"Content-Length: must have at most {MAX_LENGTH_DIGITS} digits")
    encoding = headers.get(hdrs.TRANSFER_ENCODING)
    if encoding is not None and (
        encoding.lower() != "chunked"
        or request.version != HttpVersion11
        or hdrs.CONTENT_LENGTH in headers
    ):
        raise BadRequest('Transfer-Encoding: must be "chunked", with HTTP/1.1 only')
    target = request.raw_path
    path = _path_of(target, headers.get(hdrs.HOST, ""))
    return request if path == target else request.clone(rel_url=URL(path, encoded=True))


def _path_of(target: str, host: str) -> str:
    """Return the path and the query of the request's target. Raises BadRequest."""
    if "#" in target:
        raise BadRequest("The request's target must not have a fragment: percent-encode the #")
    if target[0] == "/" or target == "*":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not absolute[1] or absolute[1].lower() != host.lower():
        raise BadRequest("The request's target must be a path, or a URL of the host in Host")
    return absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"


def _is_host(value: str) -> bool:
    if _HOST.fullmatch(value) is None:
        return False
    if len(_hosts) >= MAX_HOSTS:
        _hosts.clear()
    _hosts.add(value)
    return True
