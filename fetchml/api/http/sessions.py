"""The session of a request: its token in a header, a WebSocket protocol or the ticket of a link,
and its cookie. Where a browser reached the server, and whether a request comes from the page there.
"""

import re
from urllib.parse import urlsplit

from aiohttp import web

from fetchml.api.http.request import RestRequest
from fetchml.auth.admission import Admission
from fetchml.errors import Forbidden, Unauthorized
from fetchml.jupyter.origin import JupyterOrigins, ServerAddress

SESSION_HEADER = "X-FetchML-Session"
"""Carries a session's token. Scripts of other origins can't send it: the server allows no
cross-origin request, so the browser sends none with such a header."""
SESSION_PROTOCOL = "fetchml.session."
"""Prefix of the protocol that carries a session's token: scripts set no headers of WebSockets."""
TICKET = "fetchml-ticket"
"""The last parameter of a link that the browser itself opens."""
_COOKIE = "fetchml-session"


class SessionCredentials:
    """Admits requests by their sessions."""

    def __init__(self, admission: Admission, origins: JupyterOrigins) -> None:
        self._admission = admission
        self._origins = origins

    def server_address(self, request: RestRequest) -> ServerAddress | None:
        return server_address_of(request.http, self._origins.public_url)

    def admit(self, request: RestRequest, protocol: str | None = None) -> None:
        """Admit a request without an API key. `protocol`: the session's token, if a WebSocket
        protocol has it. Raises Unauthorized, Forbidden, RateLimited."""
        http, admission, address = request.http, self._admission, request.address
        server_address = self.server_address(request)
        cookies = cookies_of(http, server_address)
        if token := protocol or http.headers.get(SESSION_HEADER):
            session, admitted = admission.admit_session(token, cookies, address)
        elif http.method == "GET" and (link := split_ticket(http.raw_path)):
            path, ticket = link
            session, admitted = admission.admit_ticket(ticket, path, cookies, address)
        else:
            request.admit(admission, None)
            return
        if session.cookie_digest is not None and not is_from(server_address, http):
            raise Forbidden(
                "A session with a cookie counts only for requests that the page itself sends. "
                "Other clients send an API key"
            )
        request.admit_session(admission, session, admitted)

    def admit_if_any(self, request: RestRequest) -> None:
        """Admit a request if it presents a valid session. Raises RateLimited."""
        if SESSION_HEADER not in request.http.headers:
            return
        try:
            self.admit(request)
        except (Unauthorized, Forbidden):
            return


def split_ticket(raw_path: str) -> tuple[str, str] | None:
    """Return the path, with the rest of its query, and the ticket of a link; `None` if it has no
    ticket."""
    path, name, ticket = raw_path.rpartition(f"{TICKET}=")
    return (path[:-1], ticket) if name and path.endswith(("?", "&")) else None


def cookie_name(server_address: ServerAddress) -> str:
    """Return the cookie's name: cookies of all ports of a host are sent to each. With TLS its
    prefix makes browsers refuse one that another host name or an unencrypted page has set."""
    prefix = "__Host-" if server_address.scheme == "https" else ""
    return f"{prefix}{_COOKIE}-{server_address.port or 'default'}"


def session_cookie(server_address: ServerAddress, token: str, seconds: int) -> str:
    """Return the value of `Set-Cookie`. No seconds: the cookie is removed."""
    secure = "; Secure" if server_address.scheme == "https" else ""
    value = f"{cookie_name(server_address)}={token}; Path=/; Max-Age={max(0, seconds)}"
    return f"{value}; HttpOnly; SameSite=Strict{secure}"


def cookies_of(request: web.BaseRequest, server_address: ServerAddress | None) -> list[str]:
    """Return the values of all session cookies that were sent for this place. Their number is
    limited by the size of a request's head."""
    header = ";".join(request.headers.getall("Cookie", ()))
    if server_address is None or not header:
        return []
    pairs = (part.strip().partition("=") for part in header.split(";"))
    name = cookie_name(server_address)
    return [value for each, _, value in pairs if each == name]


_HOST = re.compile(r"([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?", re.IGNORECASE)
_FORWARDED = ("forwarded", "via", "x-forwarded-", "x-real-ip")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def server_address_of(request: web.BaseRequest, public_url: str) -> ServerAddress | None:
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
    return ServerAddress(scheme, host, "" if port == _DEFAULT_PORTS[scheme] else port, direct)


def is_from(server_address: ServerAddress | None, request: web.BaseRequest) -> bool:
    """Return whether a browser may have sent the request from the page at this place.

    A write and a WebSocket carry the page's origin. A read of the same origin carries none, and
    browsers mark it with `Sec-Fetch-Site`, except on unencrypted connections to other hosts. Any
    other program can write both: they prove nothing by themselves."""
    headers = request.headers
    origins, sites = headers.getall("Origin", []), headers.getall("Sec-Fetch-Site", [])
    if server_address is None or len(origins) > 1 or any(site != "same-origin" for site in sites):
        return False
    if origins:
        return origins[0] == server_address.origin
    return request.method in ("GET", "HEAD") and "Upgrade" not in headers
