"""The pages of Jupyter services, under `/jupyter/<id>/` on the server's own port.

Jupyter's token is what opens them: no key is asked for, and none is handed on. What Jupyter says
is as little trusted as any task: its replies are parsed, and written anew.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import aiohttp
from aiohttp import web
from yarl import URL

from fetchml.adapters.jupyter.link import http_session
from fetchml.api.http.errors import MethodNotAllowed
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.streams import Streams, abort, ended_with_client, send_pieces
from fetchml.api.jupyter import page
from fetchml.api.jupyter.headers import Target, for_browser, for_jupyter, is_upgrade, parse_target
from fetchml.api.jupyter.socket import Refused, hand_on_socket
from fetchml.api.jupyter.upload import Upload, strangers_body
from fetchml.api.jupyter.visitors import STRANGERS_REPLY_SECONDS, Rooms, greeting, is_known
from fetchml.api.task_json import rfc3339
from fetchml.auth.admission import Admission
from fetchml.errors import BadRequest, NotFound, Unavailable
from fetchml.jupyter.origin import JupyterOrigins
from fetchml.ports.jupyter import JupyterLink
from fetchml.views import JupyterDoor, JupyterState

PIECE_BYTES = 64 << 10
"""Of a reply, in one write."""
MAX_PAGE_BYTES = 256 << 10
"""Larger ones carry no notice."""

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_WORK = re.compile(r"/api/(contents|kernels|sessions|terminals)(/.*)?")
"""What people change. A page that is left open saves its layout every 10 s, and extensions ask
by POST: that is no use."""

log = logging.getLogger(__name__)


class Services(Protocol):
    """What is asked of `JupyterServices`."""

    def link(self, service_id: str) -> JupyterLink | None: ...

    def door(self, service_id: str) -> JupyterDoor | None: ...

    def note_use(self, service_id: str) -> None: ...

    def state(self, service_id: str) -> JupyterState | None: ...


class JupyterProxy:
    def __init__(
        self,
        services: Services,
        admission: Admission,
        streams: Streams,
        origins: JupyterOrigins,
        *,
        take_seconds: float,
        answer_seconds: float,
    ) -> None:
        """`take_seconds`: a client that sends or takes nothing for so long is let go.
        `answer_seconds`: the same of Jupyter."""
        self._services = services
        self._admission = admission
        self._streams = streams
        self._take_seconds = take_seconds
        self._answer_seconds = answer_seconds
        self._origins = origins
        self._rooms = Rooms()
        self._notice_js = page.NOTICE_JS.read_bytes()
        self.at_origin = Route(
            "*", "a Jupyter service's origin", self.answer_at_origin, keyless=True
        )
        """For every request to a service's own origin."""

    def routes(self) -> list[Route]:
        places = ("/jupyter/{id}", "/jupyter/{id}/", "/jupyter/{id}/{path...}")
        return [Route("*", place, self.answer, keyless=True) for place in places]

    async def answer(self, request: RestRequest, *_: str) -> web.StreamResponse:
        """At the server's own address."""
        # The path as it came, not as the router has decoded it.
        target = parse_target(request.http.raw_path)
        visit = self._visit(request, target)
        if self._origins.are_separate:
            return _redirect(request, self._origins.origin(visit.target.service_id) + visit.whole)
        return await self._serve(request, visit)

    async def answer_at_origin(self, request: RestRequest, label: str) -> web.StreamResponse:
        """At the origin of the service that `label` names: nothing else is served there."""
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
        """Raises NotFound, RateLimited, MethodNotAllowed."""
        http = request.http
        door = self._services.door(target.service_id) if target is not None else None
        known = target is not None and door is not None and is_known(http, target, door)
        state = self._services.state(target.service_id) if target is not None else None
        if target is None or door is None or state is None or (door.private and not known):
            self._admission.count_refusal(http.headers.get("X-API-Key"), request.address)
            raise NotFound("There is no such Jupyter service")
        if http.method not in _METHODS:
            raise MethodNotAllowed(http.method, ", ".join(_METHODS))
        return _Visit(target, door, state, known=known)

    async def _serve(self, request: RestRequest, visit: "_Visit") -> web.StreamResponse:
        target, door, state = visit.target, visit.door, visit.state
        log.debug("%s %s%s", request.http.method, target.service_id, target.path)
        if not target.path:
            return _redirect(request, visit.whole)
        if target.path.startswith("/.fetchml/"):
            return self._own(request, target, state)
        link = self._services.link(target.service_id)
        if link is None:
            return _instead(request, state)
        if visit.known:
            with self._rooms.known(target.service_id, door.owner, is_socket=_is_socket(request)):
                return await self._hand_on(request, link, visit)
        with self._rooms.stranger(target.service_id, request.address):
            return await self._hand_on(request, link, visit)

    async def _hand_on(
        self, request: RestRequest, link: JupyterLink, visit: "_Visit"
    ) -> web.StreamResponse:
        """Raises ConnectionAbortedError where a stranger's reply does not end."""
        if visit.known:
            return await self._at_once(request, link, visit, None)
        body = await strangers_body(request) if request.http.body_exists else None
        try:
            async with asyncio.timeout(STRANGERS_REPLY_SECONDS):
                return await self._at_once(request, link, visit, body)
        except TimeoutError:
            abort(request.http)
            raise ConnectionAbortedError from None

    async def _at_once(
        self, request: RestRequest, link: JupyterLink, visit: "_Visit", body: bytes | None
    ) -> web.StreamResponse:
        if _is_socket(request):
            return await self._socket(request, link, visit.target)
        with ended_with_client(request):
            return await self._request(request, link, visit, body)

    def _own(self, request: RestRequest, target: Target, state: JupyterState) -> web.StreamResponse:
        """What the notice in its pages asks for; it is told no more than a time."""
        if target.path == "/.fetchml/notice.js":
            headers = request.headers(
                {"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache"}
            )
            return web.Response(body=self._notice_js, headers=headers)
        if target.path != "/.fetchml/notice":
            raise NotFound("There is nothing at this path")
        if page.has_ended(state):
            raise NotFound("This Jupyter service has ended")
        body = {} if state.stops_at is None else {"stops_at": rfc3339(state.stops_at)}
        response = request.json(body)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _socket(
        self, request: RestRequest, link: JupyterLink, target: Target
    ) -> web.StreamResponse:
        try:
            return await hand_on_socket(
                request,
                link,
                target,
                self._streams,
                answer_seconds=self._answer_seconds,
                take_seconds=self._take_seconds,
            )
        except Refused as refused:
            text = f"Jupyter does not take this WebSocket: {refused.status}\n"
            headers = request.headers({"Content-Type": "text/plain; charset=utf-8"})
            return web.Response(status=refused.status, text=text, headers=headers)

    async def _request(
        self, request: RestRequest, link: JupyterLink, visit: "_Visit", body: bytes | None
    ) -> web.StreamResponse:
        """`body`: the whole of it, where it was read already."""
        http, target = request.http, visit.target
        as_page = http.method == "GET" and page.may_carry_notice(target.path)
        async with self._asked(request, link, target, body, plain=as_page) as answer:
            try:
                headers = for_browser(answer.headers, link.base_path)
            except ValueError:
                raise _nonsense() from None
            if not 200 <= answer.status < 600:
                raise _nonsense()
            given = answer.headers.getall("Set-Cookie", [])
            greets = greeting(http, target, visit.door, answer.status, given)
            if greets is not None:
                secure = "; Secure" if self._origins.are_encrypted else ""
                headers.add("Set-Cookie", greets + secure)
            if _is_use(http.method, target.path) and answer.status < 400:
                self._services.note_use(target.service_id)
            begun: list[bytes] = []
            if as_page and _is_page(answer):
                whole = await _read_page(answer, begun)
                if whole is not None:
                    changed = page.with_notice(whole, link.base_path)
                    return web.Response(body=changed, headers=request.headers(headers))
            if (length := _length(answer)) is not None:
                headers["Content-Length"] = str(length)
            return await send_pieces(
                request, headers, _pieces(answer, begun), self._take_seconds, answer.status
            )

    @asynccontextmanager
    async def _asked(
        self,
        request: RestRequest,
        link: JupyterLink,
        target: Target,
        body: bytes | None,
        *,
        plain: bool,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Jupyter's answer, as soon as its head is there. Raises BadRequest, Unavailable.

        `plain`: it must not be packed.
        """
        http = request.http
        try:
            headers = for_jupyter(http.headers, link)
        except ValueError:
            raise BadRequest("A header can't be sent on as it is") from None
        if plain:
            headers["Accept-Encoding"] = "identity"
        upload = Upload(http, self._take_seconds, self._answer_seconds)
        if body is None and http.body_exists and http.content_length is not None:
            headers["Content-Length"] = str(http.content_length)
        async with http_session(link, answer_seconds=self._answer_seconds) as session:
            try:
                async with asyncio.timeout(self._answer_seconds) as upload.patience:
                    answer = await session.request(
                        http.method,
                        URL(f"http://jupyter{target.whole}", encoded=True),
                        headers=headers,
                        data=upload.pieces() if body is None and http.body_exists else body,
                        allow_redirects=False,
                    )
            except (aiohttp.ClientError, OSError, ValueError) as error:  # also TimeoutError
                if upload.fault is not None:
                    raise upload.fault from None
                log.debug("jupyter does not answer: %r", error)
                raise Unavailable("Jupyter does not answer") from error
            try:
                yield answer
            finally:
                answer.close()


class _Visit(NamedTuple):
    target: Target
    door: JupyterDoor
    state: JupyterState
    known: bool

    @property
    def whole(self) -> str:
        """The path and the query, with the slash behind the id."""
        return self.target._replace(path=self.target.path or "/").whole


def _is_socket(request: RestRequest) -> bool:
    return is_upgrade(request.http.headers)


def _redirect(request: RestRequest, location: str) -> web.StreamResponse:
    return web.Response(status=307, headers=request.headers({"Location": location}))


def _instead(request: RestRequest, state: JupyterState) -> web.StreamResponse:
    """For a service whose Jupyter does not answer now. Raises Unavailable, NotFound."""
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


def _is_page(answer: aiohttp.ClientResponse) -> bool:
    length = _length(answer)
    return (
        answer.status == 200
        and answer.content_type == "text/html"
        and answer.headers.get("Content-Encoding", "identity").lower() == "identity"
        and (length is None or length <= MAX_PAGE_BYTES)
    )


async def _read_page(answer: aiohttp.ClientResponse, begun: list[bytes]) -> bytes | None:
    """The whole page. None: it is too large, and what was read of it is in `begun`."""
    size = 0
    async for piece in _pieces(answer, []):
        begun.append(piece)
        size += len(piece)
        if size > MAX_PAGE_BYTES:
            return None
    return b"".join(begun)


async def _pieces(answer: aiohttp.ClientResponse, begun: list[bytes]) -> AsyncGenerator[bytes]:
    """The body, after what was read of it before. Raises Unavailable."""
    for piece in begun:
        yield piece
    while True:
        try:
            piece = await answer.content.read(PIECE_BYTES)
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable("Jupyter has broken off") from error
        if not piece:
            return
        yield piece


def _length(answer: aiohttp.ClientResponse) -> int | None:
    """Of the body; None: it goes on until it ends, or it is not told."""
    if "Transfer-Encoding" in answer.headers:
        return None
    return answer.content_length


def _nonsense() -> Unavailable:
    return Unavailable("Jupyter does not answer as HTTP wants it")
