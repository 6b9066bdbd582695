"""The reverse proxy to ports of tasks, each at an origin of its own: `<task>-<port>.<domain>`, and
the links that open them.

The pages come from a program of the task's user, so they share nothing with the server's own page
or with another task. A visitor comes with a ticket, which the origin turns into a cookie that opens
this port and nothing else.
"""

import re
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlencode

import aiohttp
from aiohttp import web

from fetchml.access.relays import Relay
from fetchml.access.service import TaskAccess
from fetchml.adapters.jupyter.link import socket_session
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.sessions import TICKET, server_address_of
from fetchml.api.http.streams import Streams, ended_with_client, send_pieces
from fetchml.api.message_fields import TASK_PORT_LINK
from fetchml.api.proxy.headers import cookies, for_browser, for_task, is_upgrade
from fetchml.api.proxy.socket import SocketRejected, proxy_socket
from fetchml.api.proxy.upstream import (
    Upstream,
    body_length,
    body_pieces,
    invalid_reply,
    open_reply,
)
from fetchml.api.proxy.visitors import VisitorLimits
from fetchml.auth.admission import Admission
from fetchml.auth.key_tokens import VISIT_MS, TaskPort
from fetchml.auth.sessions import Session
from fetchml.core.model import Principal
from fetchml.errors import BadRequest, Conflict, Forbidden, Unauthorized
from fetchml.jupyter.origin import JupyterOrigins, ServerAddress
from fetchml.views import TaskPortLink

_COOKIE = "fetchml-port"
_LABEL = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-([1-9][0-9]{0,4})", re.ASCII)
_SEEN = ("same-origin", "none")
"""Values of Sec-Fetch-Site of requests that this origin's own pages send, or the visitor."""


def label_of(task_id: str, port: int) -> str:
    """Return the label of a host name: 63 characters at most, as DNS allows."""
    return f"{task_id}-{port}"


def port_in(label: str) -> TaskPort | None:
    """Return the port that a label names; `None` if it names none."""
    match = _LABEL.fullmatch(label)
    return TaskPort(match[1], int(match[2])) if match else None


class TaskPorts:
    """Admits visitors, and forwards their requests and sockets to ports of tasks."""

    def __init__(
        self,
        access: TaskAccess,
        admission: Admission,
        streams: Streams,
        origins: JupyterOrigins,
        limits: VisitorLimits,
        *,
        client_seconds: float,
        task_seconds: float,
    ) -> None:
        """`limits`: shared with Jupyter services. `client_seconds`, `task_seconds`: the exchange
        ends if the client, or the task, sends or reads nothing for this long."""
        self._access = access
        self._admission = admission
        self._streams = streams
        self._origins = origins
        self._limits = limits
        self._client_seconds = client_seconds
        self._task_seconds = task_seconds
        self.at_origin = Route("*", "a task's port", self.answer_at_origin, keyless=True)

    async def answer_at_origin(self, request: RestRequest, label: str) -> web.StreamResponse:
        """Answer a request to the origin of a port. `label`: one that `port_in` reads."""
        at = port_in(label)
        assert at is not None  # noqa: S101  # The server has read it.
        http = request.http
        path, _, query = http.raw_path.partition("?")
        if TICKET in query and http.method == "GET" and not is_upgrade(http.headers):
            fields = parse_qsl(query, keep_blank_values=True)
            tickets = [value for name, value in fields if name == TICKET]
            rest = urlencode([(name, value) for name, value in fields if name != TICKET])
            if tickets:
                return self._admit(request, at, tickets[0], path + (rest and f"?{rest}"))
        who, session = self._visitor(request, at)
        spec = await self._access.admit_to_port(who, at.task_id, at.port)
        is_socket = is_upgrade(http.headers)
        with (
            self._limits.authenticated(label, who.user, is_socket=is_socket),
            self._admission.while_valid(who, session),
        ):
            async with self._access.used(who, spec, at.port) as relay:
                return await self._forward(request, relay, at.port, is_socket=is_socket)

    def _admit(
        self, request: RestRequest, at: TaskPort, ticket: str, path: str
    ) -> web.StreamResponse:
        """Turn a ticket into a cookie. Raises Unauthorized."""
        token = self._admission.port_visits.use(ticket, at)
        if token is None:
            self._admission.count_refusal(None, request.address)
            raise Unauthorized("The link has expired or was already used: open the port again")
        secure = "; Secure" if self._is_encrypted(request) else ""
        headers = {
            # One slash: two would name another host.
            "Location": "/" + quote(path.lstrip("/\\"), safe="/?&=%+:@!$'()*,;~-._"),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "Set-Cookie": f"{self._cookie(request)}={token}; Path=/; Max-Age={VISIT_MS // 1000}; "
            f"HttpOnly; SameSite=Lax{secure}",
        }
        return web.Response(status=HTTPStatus.SEE_OTHER, headers=request.headers(headers))

    def _visitor(self, request: RestRequest, at: TaskPort) -> tuple[Principal, Session | None]:
        """Return the visitor, and the session that opened the port. Raises Unauthorized, Forbidden,
        RateLimited."""
        name, headers = self._cookie(request), request.http.headers
        for each, value in cookies(headers):
            visit = self._admission.port_visits.find(value, at) if each == name else None
            if visit is not None:
                self._require_own(request)
                key, session = visit
                return Principal(key.name, key.role, key.id, request.address), session
        self._admission.count_refusal(None, request.address)
        raise Unauthorized(
            "Open this port from the page of its task, or use 'fetchml port-forward'"
        )

    def _require_own(self, request: RestRequest) -> None:
        """Pages of other tasks are of the same site, so browsers send them the cookie too. Only
        links may come from elsewhere. Raises Forbidden."""
        headers, method = request.http.headers, request.http.method
        here = headers.get("Host", "").lower()
        origins = headers.getall("Origin", [])
        sites = headers.getall("Sec-Fetch-Site", [])
        is_link = (
            method in ("GET", "HEAD")
            and headers.get("Sec-Fetch-Mode") == "navigate"
            and headers.get("Sec-Fetch-Dest", "document") == "document"  # Not a frame.
        )
        is_write = method not in ("GET", "HEAD") or is_upgrade(headers)
        # A proxy may have added TLS: the scheme is not compared.
        if any(each.lower().partition("://")[2] != here for each in origins):
            raise Forbidden("A page of another origin sent this request")
        if any(site not in _SEEN for site in sites) and not is_link:
            raise Forbidden("A page of another origin sent this request")
        if is_write and not origins and not sites:
            raise Forbidden("The request does not show which page sent it (Origin)")

    async def _forward(
        self, request: RestRequest, relay: Relay, port: int, *, is_socket: bool
    ) -> web.StreamResponse:
        def session(answer_seconds: float) -> aiohttp.ClientSession:
            return socket_session(relay.connect, answer_seconds=answer_seconds)

        path = request.http.raw_path
        upstream = Upstream(f"Port {port} of the task", path, session, for_task)
        if is_socket:
            try:
                return await proxy_socket(
                    request,
                    upstream,
                    self._streams,
                    answer_seconds=self._task_seconds,
                    stall_seconds=self._client_seconds,
                )
            except SocketRejected as rejected:
                return web.Response(status=rejected.status, headers=request.headers({}))
        with ended_with_client(request):
            return await self._forward_request(request, upstream)

    async def _forward_request(
        self, request: RestRequest, upstream: Upstream
    ) -> web.StreamResponse:
        async with open_reply(
            request,
            upstream,
            None,
            plain=False,
            client_seconds=self._client_seconds,
            jupyter_seconds=self._task_seconds,
        ) as answer:
            try:
                headers = for_browser(answer.headers, "/")
            except ValueError:
                raise invalid_reply() from None
            if not 200 <= answer.status < 600:
                raise invalid_reply()
            if (length := body_length(answer)) is not None:
                headers["Content-Length"] = str(length)
            return await send_pieces(
                request, headers, body_pieces(answer, []), self._client_seconds, answer.status
            )

    def _is_encrypted(self, request: RestRequest) -> bool:
        return request.http.secure or self._origins.are_encrypted

    def _cookie(self, request: RestRequest) -> str:
        """Return the cookie's name. The prefix keeps other hosts of the domain from setting it."""
        return f"__Host-{_COOKIE}" if self._is_encrypted(request) else _COOKIE


class OpenedPorts:
    """Makes links to ports of tasks, for REST and gRPC."""

    def __init__(self, access: TaskAccess, admission: Admission, origins: JupyterOrigins) -> None:
        self._access = access
        self._admission = admission
        self._origins = origins

    @property
    def public_url(self) -> str:
        return self._origins.public_url

    async def open(
        self,
        who: Principal,
        task_id: str,
        port: int,
        served_at: ServerAddress | None = None,
        session: Session | None = None,
    ) -> TaskPortLink:
        """Return a link that opens a port in a browser, once. `served_at`: where the browser
        reaches the server; `None` if the request does not show it. `session`: of the page that
        asks; the visit ends with it. Raises NotFound, Forbidden, Conflict."""
        await self._access.admit_to_port(who, task_id, port)
        origin = self._origins.of_port(label_of(task_id, port), served_at)
        if origin is None:
            raise Conflict(
                "Ports of tasks have no origin of their own at this address, where a script of the "
                "task could not use the session of the page: set [jupyter] domain, reach the "
                "server as localhost, or use 'fetchml port-forward'"
            )
        if self._admission.key(who.key_id) is None:
            raise Forbidden("Links to ports require an API key")
        ticket, expires_at = self._admission.port_visits.ticket(
            who.key_id, session, TaskPort(task_id, port)
        )
        return TaskPortLink(f"{origin}/?{TICKET}={ticket}", expires_at)


class AccessOperations:
    """The ports of tasks over REST."""

    def __init__(self, ports: OpenedPorts) -> None:
        self._ports = ports

    def routes(self) -> list[Route]:
        return [Route("POST", "/v1/tasks/{id}/ports/{port}", self.open)]

    async def open(self, request: RestRequest, task_id: str, port: str) -> web.StreamResponse:
        if not re.fullmatch("[0-9]{1,9}", port, re.ASCII):
            raise BadRequest("port: must be an integer")
        served_at = server_address_of(request.http, self._ports.public_url)
        link = await self._ports.open(
            request.principal, task_id, int(port), served_at, request.session
        )
        return request.json(TASK_PORT_LINK.json(link))
