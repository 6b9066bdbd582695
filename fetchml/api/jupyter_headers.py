"""What of a request a Jupyter gets to see, and what of its reply a browser does.

Jupyter runs in a container that its user owns: it must never see a key of FetchML, and what it
says holds for its own pages only, not for all that is served at this address.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from multidict import CIMultiDict, CIMultiDictProxy

from fetchml.api.ws import KEY_PROTOCOL

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
    "content-length",  # told anew, with the body
    "expect",  # this server has answered it
    "x-api-key",
}
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
"""Headers by which one reply decides over all that is served here."""
_NOT_FOR_BROWSERS = _HOP_BY_HOP | _FOR_THE_WHOLE_ADDRESS | {"content-length", "server"}

_TARGET = re.compile(r"/jupyter/([0-9A-Za-z-]{1,64})((?:/[!-\"$->@-~]*)?)((?:\?[!-\"$-~]*)?)")
"""The path's two parts and the query, all without a fragment."""
_SEPARATORS = re.compile(r"[/\\]")


class Target(NamedTuple):
    """Where a request goes, as the client wrote it."""

    service_id: str
    path: str
    """From the slash behind the id on; empty where that is missing."""
    query: str
    """With its question mark, or empty."""

    @property
    def whole(self) -> str:
        return f"/jupyter/{self.service_id}{self.path}{self.query}"


def parse_target(raw: str) -> Target | None:
    """None: it lies below no service, however it is read."""
    match = _TARGET.fullmatch(raw)
    if match is None:
        return None
    target = Target(*match.groups())
    steps = _SEPARATORS.split(unquote(target.path))
    return None if {".", ".."}.intersection(steps) else target


def for_jupyter(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Raises ValueError for what can't be sent on as it came."""
    kept = CIMultiDict(_kept(headers, _NOT_FOR_JUPYTER))
    for name in [name for name in kept if name.lower().startswith("sec-websocket-")]:
        kept.popall(name, None)
    return kept


def protocols(headers: CIMultiDictProxy[str]) -> list[str]:
    """Those of a WebSocket that Jupyter may know of."""
    offered = ",".join(headers.getall("Sec-WebSocket-Protocol", ())).split(",")
    names = (name.strip() for name in offered)
    return [name for name in names if name and not name.startswith(KEY_PROTOCOL)]


def for_browser(headers: CIMultiDictProxy[str], base_path: str) -> CIMultiDict[str]:
    """Raises ValueError for what must not be sent on at all."""
    kept = CIMultiDict[str]()
    for name, value in _kept(headers, _NOT_FOR_BROWSERS):
        if name.lower() != "set-cookie" or _stays_below(value, base_path):
            kept.add(name, value)
    return kept


def is_upgrade(headers: Mapping[str, str]) -> bool:
    return headers.get("Upgrade", "").strip().lower() == "websocket"


def _kept(headers: CIMultiDictProxy[str], dropped: Iterable[str]) -> Iterator[tuple[str, str]]:
    named = ",".join(headers.getall("Connection", ())).lower().split(",")
    left_out = {*dropped, *(name.strip() for name in named)}
    for name, value in headers.items():
        if name.lower() not in left_out:
            value.encode()  # half a character can't be sent on
            if any(mark in value for mark in "\r\n\0"):
                raise ValueError("a header has several lines")
            yield name, value


def _stays_below(cookie: str, base_path: str) -> bool:
    """Whether a browser sends a cookie to this service only."""
    for attribute in cookie.split(";")[1:]:
        name, _, value = (part.strip() for part in attribute.partition("="))
        if name.lower() == "domain":
            return False
        # Without a path, or one that is none, it is that of the page, which is below.
        if (
            name.lower() == "path"
            and value.startswith("/")
            and not f"{value}/".startswith(base_path)
        ):
            return False
    return True
