"""What of a request a Jupyter gets to see, and what of its reply a browser does.

Jupyter runs in a container that its user owns: it must never see a key of FetchML, and what it
says holds for its own pages only, not for all that is served at this address.
"""

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from multidict import CIMultiDict, CIMultiDictProxy

from fetchml.api.ws.route import KEY_PROTOCOL
from fetchml.core.requests.jupyter import login_cookie
from fetchml.ports.jupyter import JupyterLink

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
    "authorization",  # added again where it is Jupyter's own
    "content-length",  # told anew, with the body
    "cookie",  # as above
    "expect",  # this server has answered it
    "forwarded",
    "true-client-ip",
    "via",
    "x-api-key",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
}
_NOT_FOR_JUPYTER_BEGIN = (
    "cf-", "sec-websocket-", "x-envoy-", "x-forwarded-", "x-original-", "x-rewrite-",
)  # fmt: skip
"""What proxies write of the way to this server, and by which a path could be another's."""
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
_TOKEN = re.compile(r"(?:token|bearer)\s+([!-~]+)", re.IGNORECASE)
_NO_NAME = re.compile(r"[^A-Za-z0-9]")
"""What Jupyter replaces in the name of its login cookie, where it was not given one."""
MAX_COOKIES = 200
"""Of one request; more are not looked at."""
_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
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


def for_jupyter(headers: CIMultiDictProxy[str], link: JupyterLink) -> CIMultiDict[str]:
    """Without whatever opens something else on this host: keys, and others' credentials, cookies
    and links. Raises ValueError for what can't be sent on as it came."""
    kept = CIMultiDict[str]()
    for name, value in _kept(headers, _NOT_FOR_JUPYTER):
        if name.lower().startswith(_NOT_FOR_JUPYTER_BEGIN):
            continue
        if name.lower() == "referer" and link.base_path not in value.partition("?")[0]:
            continue  # Links may hold the token of another service.
        kept.add(name, value)
    token = token_in(headers)
    if token is not None and hmac.compare_digest(token.encode(), link.token.encode()):
        kept["Authorization"] = f"token {token}"
    if own := _own_cookies(headers, link):
        kept["Cookie"] = own
    return kept


def token_in(headers: CIMultiDictProxy[str]) -> str | None:
    """Of an Authorization header as Jupyter understands it. `None` if it is none."""
    match = _TOKEN.fullmatch(headers.get("Authorization", ""))
    return match[1] if match else None


def cookies(headers: CIMultiDictProxy[str]) -> list[tuple[str, str]]:
    """Names and values; a browser sends those of the longest path first."""
    parts = ";".join(headers.getall("Cookie", ())).split(";")[:MAX_COOKIES]
    pairs = (part.strip().partition("=") for part in parts)
    return [(name, value) for name, equals, value in pairs if equals]


def _own_cookies(headers: CIMultiDictProxy[str], link: JupyterLink) -> str:
    """A browser sends all that are set for this host, whoever set them, and for any port."""
    host = _NO_NAME.sub("-", f"username-{headers.get('Host', '')}")
    ours = {login_cookie(link.service_id), host, "_xsrf"}
    first: dict[str, str] = {}
    for name, value in cookies(headers):
        if name in ours and name not in first:
            first[name] = value
    return "; ".join(f"{name}={value}" for name, value in first.items())


def protocols(headers: CIMultiDictProxy[str]) -> list[str]:
    """Those of a WebSocket that Jupyter may know of."""
    offered = ",".join(headers.getall("Sec-WebSocket-Protocol", ())).split(",")
    names = (name.strip() for name in offered)
    return [name for name in names if name and not name.startswith(KEY_PROTOCOL)]


def for_browser(headers: CIMultiDictProxy[str], base_path: str) -> CIMultiDict[str]:
    """Raises ValueError for what must not be sent on at all."""
    kept = CIMultiDict[str]()
    for name, value in _kept(headers, _NOT_FOR_BROWSERS):
        if name.lower() == "set-cookie" and not _is_its_own(value, base_path):
            continue
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


def _is_its_own(cookie: str, base_path: str) -> bool:
    """Whether a browser sends a cookie to this service only, and takes it for nobody else's."""
    name, equals, _ = cookie.partition(";")[0].partition("=")
    # Without a name the value is sent alone: it could look like any cookie.
    if not equals or not _COOKIE_NAME.fullmatch(name.strip()):
        return False
    if name.strip().lower().startswith(("__", "fetchml")):
        return False  # `__Host-` and the like promise that the whole host has set it.
    for attribute in cookie.split(";")[1:]:
        key, _, value = (part.strip() for part in attribute.partition("="))
        if key.lower() == "domain":
            return False
        # Without a path, or one that is none, it is that of the page, which is below.
        if key.lower() == "path" and value.startswith("/") and not _is_below(value, base_path):
            return False
    return True


def _is_below(path: str, base_path: str) -> bool:
    return f"{path}/".startswith(base_path)
