"""Where a browser reached the server, and whether a request comes from the page served there."""

import re
from urllib.parse import urlsplit

from aiohttp import web

from fetchml.jupyter.origin import Place

_HOST = re.compile(r"([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?", re.IGNORECASE)
_FORWARDED = ("forwarded", "via", "x-forwarded-", "x-real-ip")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def place_of(request: web.BaseRequest, public_url: str) -> Place | None:
    """Return where the browser reached the server; `None` if the request does not show it.

    `public_url`: the server's own URL for browsers, which shows whether a proxy adds TLS."""
    match = _HOST.fullmatch(request.headers.get("Host", ""))
    if match is None:
        return None
    host, port = match[1].lower().removesuffix("."), match[2] or ""
    own = urlsplit(public_url)
    is_own = own.scheme == "https" and (own.hostname, str(own.port or "")) == (host, port)
    scheme = "https" if request.secure or is_own else "http"
    direct = not any(name.lower().startswith(_FORWARDED) for name in request.headers)
    return Place(scheme, host, "" if port == _DEFAULT_PORTS[scheme] else port, direct)


def is_from(place: Place | None, request: web.BaseRequest) -> bool:
    """Return whether a browser may have sent the request from the page at this place.

    A write and a WebSocket carry the page's origin. A read of the same origin carries none, and
    browsers mark it with `Sec-Fetch-Site`, except on unencrypted connections to other hosts. Any
    other program can write both: they prove nothing by themselves."""
    headers = request.headers
    origins, sites = headers.getall("Origin", []), headers.getall("Sec-Fetch-Site", [])
    if place is None or len(origins) > 1 or any(site != "same-origin" for site in sites):
        return False
    if origins:
        return origins[0] == place.origin
    return request.method in ("GET", "HEAD") and "Upgrade" not in headers
