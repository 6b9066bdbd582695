"""Filtering of headers between browsers and Jupyter.

Jupyter runs in a container that its user controls. It must never receive a FetchML API key, and its
replies must not affect anything else that is served at the same address.
"""

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from multidict import CIMultiDict, CIMultiDictProxy

from fetchml.api.http.sessions import SESSION_PROTOCOL
from fetchml.api.ws.handshake import KEY_PROTOCOL
from fetchml.core.jupyter import login_cookie
from fetchml.ports.jupyter import JupyterLink

_SECRET_PROTOCOLS = (KEY_PROTOCOL, SESSION_PROTOCOL)
_HOP_BY_HOP = {
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_NOT_FOR_JUPYTER = _HOP_BY_HOP | {
    "authorization",  # Added again if it holds Jupyter's own token.
    "content-length",  # Set again with the body.
    "cookie",  # Jupyter's own cookies are added again.
    "expect",  # Answered by this server.
    "forwarded",
    "true-client-ip",
    "via",
    "x-api-key",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-fetchml-session",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
}
_NOT_FOR_JUPYTER_BEGIN = (
    "cf-", "sec-websocket-", "x-envoy-", "x-forwarded-", "x-original-", "x-rewrite-",
)  # fmt: skip
"""Headers in which proxies describe the request's route or replace its path."""
_FOR_THE_WHOLE_ADDRESS = {
    "accept-ch",
    "alt-svc",
    "clear-site-data",
    "nel",
    "origin-agent-cluster",
    "public-key-pins",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "strict-transport-security",
}
"""Reply headers that apply to the whole origin rather than to one page."""
_NOT_FOR_BROWSERS = _HOP_BY_HOP | _FOR_THE_WHOLE_ADDRESS | {"content-length", "server"}

_TARGET = re.compile(r"/jupyter/([0-9A-Za-z-]{1,64})((?:/[!-\"$->@-~]*)?)((?:\?[!-\"$-~]*)?)")
"""Matches the service's id, the rest of the path, and the query; there is no fragment."""
_TOKEN = re.compile(r"(?:token|bearer)\s+([!-~]+)", re.IGNORECASE)
_NOT_ALPHANUMERIC = re.compile(r"[^A-Za-z0-9]")
"""Characters that Jupyter replaces in the default name of its login cookie."""
MAX_COOKIES = 200
"""Cookies of one request that are parsed; the rest are ignored."""
_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SEPARATORS = re.compile(r"[/\\]")
_NO_DOCUMENT = re.compile(
    r"(text/(css|javascript)|application/(javascript|json|wasm)|font/[\w-]+|image/(?!svg)[\w.-]+)"
    r"(; ?charset=[\w-]+)?",
    re.ASCII | re.IGNORECASE,
)
"""Types of replies that run nothing when a browser opens them."""


class Target(NamedTuple):
    """The target of a request, as the client wrote it."""

    service_id: str
    path: str
    """The path from the slash after the id; empty if that slash is missing."""
    query: str
    """The query with its question mark, or an empty string."""

    @property
    def whole(self) -> str:
        return f"/jupyter/{self.service_id}{self.path}{self.query}"


def parse_target(raw: str) -> Target | None:
    """Parse a request's path. Returns `None` if it is not below a service in every reading."""
    match = _TARGET.fullmatch(raw)
    if match is None:
        return None
    target = Target(*match.groups())
    steps = _SEPARATORS.split(unquote(target.path))
    return None if {".", ".."}.intersection(steps) else target


def for_jupyter(headers: CIMultiDictProxy[str], link: JupyterLink) -> CIMultiDict[str]:
    """Return the request headers for Jupyter, without anything that grants access elsewhere on this
    host: API keys, and other services' credentials, cookies and links.

    Raises ValueError for a header that cannot be forwarded unchanged.
    """
    forwarded = CIMultiDict[str]()
    for name, value in _forwardable(headers, _NOT_FOR_JUPYTER):
        if name.lower().startswith(_NOT_FOR_JUPYTER_BEGIN):
            continue
        if name.lower() == "referer" and link.base_path not in value.partition("?")[0]:
            continue  # Links may hold the token of another service.
        forwarded.add(name, value)
    token = token_in(headers)
    if token is not None and hmac.compare_digest(token.encode(), link.token.encode()):
        forwarded["Authorization"] = f"token {token}"
    if own := _own_cookies(headers, link):
        forwarded["Cookie"] = own
    return forwarded


def for_task(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the request headers for a port of a task, at an origin of its own: without keys,
    sessions and the server's cookies. Raises ValueError for a header that cannot be forwarded
    unchanged."""
    forwarded = CIMultiDict[str]()
    for name, value in _forwardable(headers, _NOT_FOR_JUPYTER):
        if not name.lower().startswith(_NOT_FOR_JUPYTER_BEGIN):
            forwarded.add(name, value)
    own = [f"{name}={value}" for name, value in cookies(headers) if not _is_ours(name)]
    if own:
        forwarded["Cookie"] = "; ".join(own)
    return forwarded


def _is_ours(cookie: str) -> bool:
    return cookie.lower().removeprefix("__host-").startswith("fetchml")


def token_in(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the token of an `Authorization` header as Jupyter parses it; `None` without one."""
    match = _TOKEN.fullmatch(headers.get("Authorization", ""))
    return match[1] if match else None


def cookies(headers: CIMultiDictProxy[str]) -> list[tuple[str, str]]:
    """Return names and values of cookies; browsers send those of the longest path first."""
    parts = ";".join(headers.getall("Cookie", ())).split(";")[:MAX_COOKIES]
    pairs = (part.strip().partition("=") for part in parts)
    return [(name, value) for name, equals, value in pairs if equals]


def _own_cookies(headers: CIMultiDictProxy[str], link: JupyterLink) -> str:
    """Return Jupyter's own cookies: browsers send every cookie of the host, from any port."""
    host = _NOT_ALPHANUMERIC.sub("-", f"username-{headers.get('Host', '')}")
    ours = {login_cookie(link.service_id), host, "_xsrf"}
    first: dict[str, str] = {}
    for name, value in cookies(headers):
        if name in ours and name not in first:
            first[name] = value
    return "; ".join(f"{name}={value}" for name, value in first.items())


def protocols(headers: CIMultiDictProxy[str]) -> list[str]:
    """Return the WebSocket protocols that Jupyter may see, without those that hold an API key or a
    session."""
    offered = ",".join(headers.getall("Sec-WebSocket-Protocol", ())).split(",")
    names = (name.strip() for name in offered)
    return [name for name in names if name and not name.startswith(_SECRET_PROTOCOLS)]


def for_browser(headers: CIMultiDictProxy[str], base_path: str) -> CIMultiDict[str]:
    """Return the reply headers for the browser. Raises ValueError for an invalid header."""
    forwarded = CIMultiDict[str]()
    for name, value in _forwardable(headers, _NOT_FOR_BROWSERS):
        if name.lower() == "set-cookie" and not _is_confined(value, base_path):
            continue
        forwarded.add(name, value)
    return forwarded


def may_be_document(status: int, headers: CIMultiDict[str]) -> bool:
    """Return whether a browser may show the reply as a document, whose scripts run."""
    types = headers.getall("Content-Type", [])
    if status == 304 and not types:
        return False  # The type of the stored reply stays.
    return len(types) != 1 or not _NO_DOCUMENT.fullmatch(types[0])


def is_upgrade(headers: Mapping[str, str]) -> bool:
    return headers.get("Upgrade", "").strip().lower() == "websocket"


def _forwardable(
    headers: CIMultiDictProxy[str], dropped: Iterable[str]
) -> Iterator[tuple[str, str]]:
    named = ",".join(headers.getall("Connection", ())).lower().split(",")
    left_out = {*dropped, *(name.strip() for name in named)}
    for name, value in headers.items():
        if name.lower() not in left_out:
            value.encode()  # Raises ValueError for a lone surrogate.
            if any(mark in value for mark in "\r\n\0"):
                raise ValueError("a header has several lines")
            yield name, value


def _is_confined(cookie: str, base_path: str) -> bool:
    """Return whether browsers send the cookie to this service only, under a harmless name."""
    name, equals, _ = cookie.partition(";")[0].partition("=")
    # Without a name, browsers send the value alone, which could look like any cookie.
    if not equals or not _COOKIE_NAME.fullmatch(name.strip()):
        return False
    if name.strip().lower().startswith(("__", "fetchml")):
        return False  # Prefixes such as `__Host-` claim that the host itself set the cookie.
    for attribute in cookie.split(";")[1:]:
        key, _, value = (part.strip() for part in attribute.partition("="))
        if key.lower() == "domain":
            return False
        # Without a valid path, browsers use the page's path, which is below the service's.
        if key.lower() == "path" and value.startswith("/") and not _is_below(value, base_path):
            return False
    return True


def _is_below(path: str, base_path: str) -> bool:
    return f"{path}/".startswith(base_path)
