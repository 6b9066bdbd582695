"""Requests that a proxy in front may have read differently: where they end, and where they lead.

aiohttp's parser rejects most of them. What it accepts, `checked` rejects, or makes the last request
of its connection: bytes that follow are then never answered as another request.
"""

import re

from aiohttp import HttpVersion10, HttpVersion11, hdrs
from aiohttp.http_parser import RawRequestMessage

from fetchml.errors import BadRequest

MAX_LENGTH_DIGITS = 18
"""Digits of Content-Length: each number of as many fits into 64 bits, with a sign too."""

_HOST = re.compile(r"([A-Za-z0-9._~!$&'()*+;=%-]{0,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{0,5})?")
"""RFC 3986, section 3.2, without the comma, which would join two hosts."""
_hosts = set[str]()
"""Valid hosts of earlier requests: most requests name the same few."""
MAX_HOSTS = 256
_ABSOLUTE = re.compile("https?://([^/?]*)(.*)", re.IGNORECASE)


def checked(message: RawRequestMessage) -> RawRequestMessage:
    """Return the request, perhaps as the last one of its connection. Raises BadRequest if it is
    ambiguous."""
    path, headers = message.path, message.headers
    if (
        path[0] == "/"
        and "#" not in path
        and not message.upgrade
        and message.version is HttpVersion11
        and hdrs.TRANSFER_ENCODING not in headers
        and len(headers.get(hdrs.CONTENT_LENGTH, "")) <= MAX_LENGTH_DIGITS
        and headers[hdrs.HOST] in _hosts
    ):
        return message
    return _check_unusual(message)


def _check_unusual(message: RawRequestMessage) -> RawRequestMessage:
    headers = message.headers
    if message.version not in (HttpVersion10, HttpVersion11):
        raise BadRequest("Only HTTP/1.0 and HTTP/1.1 are supported")
    if not _is_host(headers.get(hdrs.HOST, "")):
        raise BadRequest("Host: must be one host name or address, perhaps with a port")
    if len(headers.get(hdrs.CONTENT_LENGTH, "")) > MAX_LENGTH_DIGITS:
        raise BadRequest(f"Content-Length: must have at most {MAX_LENGTH_DIGITS} digits")
    encoding = headers.get(hdrs.TRANSFER_ENCODING)
    if encoding is not None and (
        encoding.lower() != "chunked"
        or message.version != HttpVersion11
        or hdrs.CONTENT_LENGTH in headers
    ):
        raise BadRequest('Transfer-Encoding: must be "chunked", with HTTP/1.1 only')
    message = message._replace(path=_path_of(message))
    # A proxy may see another end in chunks, and aiohttp takes the last of their trailers for a
    # header of the request behind them. It drops bytes behind an upgrade that it ignores.
    if encoding is not None or message.upgrade:
        message = message._replace(should_close=True)
    return message


def _path_of(message: RawRequestMessage) -> str:
    """Return the path and the query of the request's target. Raises BadRequest."""
    target = message.path
    if "#" in target:
        raise BadRequest("The request's target must not have a fragment: percent-encode the #")
    if target[0] == "/" or target == "*":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    host = message.headers.get(hdrs.HOST, "")
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
