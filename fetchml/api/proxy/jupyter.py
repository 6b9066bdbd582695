"""The reverse proxy to Jupyter services, under `/jupyter/<id>/` on the server's own port (contract
reading 25).

Jupyter's token grants access: the proxy requires no API key and forwards none. Jupyter is trusted
no more than any task: its replies are parsed and serialized again.
"""

import asyncio
import logging
import re
from typing import NamedTuple, Protocol

from aiohttp import web

from fetchml.api.http.errors import MethodNotAllowed
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.sessions import cookies_of, server_address_of
from fetchml.api.http.streams import Streams, abort, ended_with_client, send_pieces
from fetchml.api.proxy import page
from fetchml.api.proxy.headers import (
    Target,
    for_browser,
    is_upgrade,
    may_be_document,
    parse_target,
)
from fetchml.api.proxy.socket import SocketRejected, proxy_socket
from fetchml.api.proxy.upstream import (
    body_length,
    body_pieces,
    invalid_reply,
    is_page,
    jupyter_upstream,
    open_reply,
    read_anonymous_body,
    read_page,
)
from fetchml.api.proxy.visitors import (
    ANONYMOUS_REPLY_SECONDS,
    VisitorLimits,
    is_authenticated,
    visitor_cookie,
)
from fetchml.api.task_json import rfc3339
from fetchml.auth.admission import Admission
from fetchml.errors import Forbidden, NotFound, Unavailable
from fetchml.jupyter.origin import JupyterOrigins, ServerAddress
from fetchml.ports.jupyter import JupyterLink
from fetchml.views import JupyterState, VisitorPolicy

_PATHS = ("/jupyter/{id}", "/jupyter/{id}/", "/jupyter/{id}/{path...}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_WORK = re.compile(r"/api/(contents|kernels|sessions|terminals)(/.*)?")
"""Paths whose changes count as use. An idle open page also sends POST requests: it saves its layout
every 10 s, and extensions poll."""

log = logging.getLogger(__name__)


class Services(Protocol):
    """The part of `JupyterServices` that the proxy uses."""

    def link(self, service_id: str) -> JupyterLink | None: ...

    def visitor_policy(self, service_id: str) -> VisitorPolicy: ...

    def note_use(self, service_id: str) -> None: ...

    def state(self, service_id: str) -> JupyterState | None: ...


class JupyterProxy:
    """Authenticates visitors, and forwards their requests and sockets to Jupyter."""

    def __init__(
        self,
        services: Services,
        admission: Admission,
        streams: Streams,
        origins: JupyterOrigins,
        *,
        client_seconds: float,
        jupyter_seconds: float,
    ) -> None:
        """`client_seconds`, `jupyter_seconds`: the exchange ends if the client, or Jupyter, sends
        or reads nothing for this long."""
        self._services = services
        self._admission = admission
        self._streams = streams
        self._client_seconds = client_seconds
        self._jupyter_seconds = jupyter_seconds
        self._origins = origins
        self.limits = VisitorLimits()
        self._notice_js = page.NOTICE_JS.read_bytes()
        self.at_origin = Route(
            "*", "a Jupyter service's origin", self.answer_at_origin, keyless=True
        )
        """The route for every request to a service's own origin."""

    def routes(self) -> list[Route]:
        return [Route("*", path, self.answer, keyless=True) for path in _PATHS]

    def routes_at_port(self) -> list[Route]:
        """Return the routes of the listener of Jupyter services, which serves nothing else."""
        return [Route("*", path, self.answer_at_port, keyless=True) for path in _PATHS]

    async def answer(self, request: RestRequest, *_: str) -> web.StreamResponse:
        """Answer a request to the server's own address."""
        # The path as the client sent it, not as the router has decoded it.
        target = parse_target(request.http.raw_path)
        visit = self._visit(request, target)
        if request.http.headers.get("Service-Worker") is not None:
            raise Forbidden("A service worker could outlive this service at the server's address")
        server_address = server_address_of(request.http, self._origins.public_url)
        service_id, is_browser = visit.target.service_id, _is_browser(request, server_address)
        origin = self._origins.at(service_id, server_address, is_browser=is_browser)
        if origin is not None:
            return _redirect(request, origin + visit.whole)
        return await self._serve(request, visit._replace(shares_origin=True))

    async def answer_at_port(self, request: RestRequest, *_: str) -> web.StreamResponse:
        """Answer a request to the listener of Jupyter services."""
        visit = self._visit(request, parse_target(request.http.raw_path))
        server_address = server_address_of(request.http, self._origins.public_url)
        if _is_browser(request, server_address):
            origin = self._origins.on_loopback(visit.target.service_id, server_address)
            if origin is not None:  # The page's host is not to be a service's as well.
                return _redirect(request, origin + visit.whole)
        return await self._serve(request, visit)

    async def answer_at_origin(self, request: RestRequest, label: str) -> web.StreamResponse:
        """Answer a request to the origin of the service that `label` names. Nothing else is served
        at that origin."""
        raw = request.http.raw_path
        base = f"/jupyter/{label}"
        is_below = raw == base or raw.startswith((f"{base}/", f"{base}?"))
        target = parse_target(raw if is_below else base + raw)
        visit = self._visit(
            request, target if is_below or not raw.startswith("/jupyter/") else None
        )
        if not is_below and request.http.method in ("GET", "HEAD") and not _is_socket(request):
            return _redirect(request, visit.whole)
        return await self._serve(request, visit)

    def _visit(self, request: RestRequest, target: Target | None) -> "_Visit":
        """Look up the service and authenticate the visitor. Raises NotFound, RateLimited,
        MethodNotAllowed."""
        http = request.http
        visit = self._seen(request, target) if target is not None else None
        if visit is None:
            self._admission.count_refusal(http.headers.get("X-API-Key"), request.address)
            raise NotFound("Jupyter service not found")
        if http.method not in _METHODS:
            raise MethodNotAllowed(http.method, ", ".join(_METHODS))
        return visit

    def _seen(self, request: RestRequest, target: Target) -> "_Visit | None":
        """Return the visit of a service; `None` if there is none or it is hidden from the visitor.
        Both take the same steps here, so that the time of the reply does not reveal it."""
        policy = self._services.visitor_policy(target.service_id)
        authenticated = is_authenticated(request.http, target, policy)
        if policy.private and not authenticated:
            return None
        state = self._services.state(target.service_id)
        if state is None:
            return None
        return _Visit(target, policy, state, authenticated=authenticated)

    async def _serve(self, request: RestRequest, visit: "_Visit") -> web.StreamResponse:
        target, policy, state = visit.target, visit.policy, visit.state
        log.debug("%s %s%s", request.http.method, target.service_id, target.path)
        if not target.path:
            return _redirect(request, visit.whole)
        if target.path.startswith("/.fetchml/"):
            return self._serve_notice(request, target, state)
        link = self._services.link(target.service_id)
        if link is None:
            return _status_reply(request, state)
        if visit.authenticated:
            is_socket = _is_socket(request)
            with self.limits.authenticated(target.service_id, policy.owner, is_socket=is_socket):
                return await self._forward(request, link, visit, None)
        with self.limits.anonymous(target.service_id, request.address):
            return await self._forward_anonymous(request, link, visit)

    async def _forward_anonymous(
        self, request: RestRequest, link: JupyterLink, visit: "_Visit"
    ) -> web.StreamResponse:
        """Raises ConnectionAbortedError if the reply takes too long."""
        body = await read_anonymous_body(request) if request.http.body_exists else None
        try:
            async with asyncio.timeout(ANONYMOUS_REPLY_SECONDS):
                return await self._forward(request, link, visit, body)
        except TimeoutError:
            abort(request.http)
            raise ConnectionAbortedError from None

    async def _forward(
        self, request: RestRequest, link: JupyterLink, visit: "_Visit", body: bytes | None
    ) -> web.StreamResponse:
        if _is_socket(request):
            return await self._forward_socket(request, link, visit.target)
        with ended_with_client(request):
            return await self._forward_request(request, link, visit, body)

    def _serve_notice(
        self, request: RestRequest, target: Target, state: JupyterState
    ) -> web.StreamResponse:
        """Serve the notice's script, or the time at which the service stops. Raises NotFound."""
        if target.path == "/.fetchml/notice.js":
            headers = request.headers(
                {"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache"}
            )
            return web.Response(body=self._notice_js, headers=headers)
        if target.path != "/.fetchml/notice":
            raise NotFound("Path not found")
        if page.has_ended(state):
            raise NotFound("This Jupyter service has ended")
        body = {} if state.stops_at is None else {"stops_at": rfc3339(state.stops_at)}
        response = request.json_response(body)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _forward_socket(
        self, request: RestRequest, link: JupyterLink, target: Target
    ) -> web.StreamResponse:
        try:
            return await proxy_socket(
                request,
                jupyter_upstream(link, target),
                self._streams,
                answer_seconds=self._jupyter_seconds,
                stall_seconds=self._client_seconds,
            )
        except SocketRejected as rejected:
            text = f"Jupyter rejects this WebSocket: {rejected.status}\n"
            headers = request.headers({"Content-Type": "text/plain; charset=utf-8"})
            return web.Response(status=rejected.status, text=text, headers=headers)

    async def _forward_request(
        self, request: RestRequest, link: JupyterLink, visit: "_Visit", body: bytes | None
    ) -> web.StreamResponse:
        """`body`: the complete body if it has been read already, otherwise `None`."""
        http, target = request.http, visit.target
        as_page = http.method == "GET" and page.may_carry_notice(target.path)
        async with open_reply(
            request,
            jupyter_upstream(link, target),
            body,
            plain=as_page,
            client_seconds=self._client_seconds,
            jupyter_seconds=self._jupyter_seconds,
        ) as answer:
            try:
                headers = for_browser(answer.headers, link.base_path)
            except ValueError:
                raise invalid_reply() from None
            if not 200 <= answer.status < 600:
                raise invalid_reply()
            if visit.shares_origin and may_be_document(answer.status, headers):
                # From the browser's cache it could run beside a session that begins later.
                headers["Cache-Control"] = "no-store"
            cookies = answer.headers.getall("Set-Cookie", [])
            cookie = visitor_cookie(http, target, visit.policy, answer.status, cookies)
            if cookie is not None:
                secure = "; Secure" if self._origins.are_encrypted else ""
                headers.add("Set-Cookie", cookie + secure)
            if _is_use(http.method, target.path) and answer.status < 400:
                self._services.note_use(target.service_id)
            begun: list[bytes] = []
            if as_page and is_page(answer):
                whole = await read_page(answer, begun)
                if whole is not None:
                    changed = page.with_notice(whole, link.base_path)
                    return web.Response(body=changed, headers=request.headers(headers))
            if (length := body_length(answer)) is not None:
                headers["Content-Length"] = str(length)
            return await send_pieces(
                request, headers, body_pieces(answer, begun), self._client_seconds, answer.status
            )


class _Visit(NamedTuple):
    """A request to a service, with the visitor's standing."""

    target: Target
    policy: VisitorPolicy
    state: JupyterState
    authenticated: bool
    shares_origin: bool = False
    """Whether the reply belongs to the origin of the server itself."""

    @property
    def whole(self) -> str:
        """The path and the query, with the slash after the id."""
        return self.target._replace(path=self.target.path or "/").whole


def _is_browser(request: RestRequest, server_address: ServerAddress | None) -> bool:
    """Return whether a browser sends the request that may hold a session of the page: on loopback
    it marks its requests, or it would have got no cookie."""
    headers = request.http.headers
    marked = any(name.lower().startswith("sec-fetch-") for name in headers)
    return marked or bool(cookies_of(request.http, server_address))


def _is_socket(request: RestRequest) -> bool:
    return is_upgrade(request.http.headers)


def _redirect(request: RestRequest, location: str) -> web.StreamResponse:
    return web.Response(status=307, headers=request.headers({"Location": location}))


def _status_reply(request: RestRequest, state: JupyterState) -> web.StreamResponse:
    """Reply for a service whose Jupyter is not running. Raises Unavailable, NotFound."""
    http, ended = request.http, page.has_ended(state)
    if http.method == "GET" and "text/html" in http.headers.get("Accept", ""):
        headers = request.headers(page.PAGE_HEADERS)
        if not ended:
            headers["Retry-After"] = str(page.RELOAD_SECONDS)
        status = 404 if ended else 503
        return web.Response(status=status, body=page.page(state), headers=headers)
    if ended:
        raise NotFound(page.sentence(state))
    raise Unavailable(page.sentence(state))


def _is_use(method: str, path: str) -> bool:
    return method in _CHANGES and _WORK.fullmatch(path) is not None
