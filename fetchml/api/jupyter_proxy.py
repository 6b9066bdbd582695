"""The pages of Jupyter services, under `/jupyter/<id>/` on the server's own port.

Jupyter's token is what opens them: no key is asked for, and none is handed on. What Jupyter says
is as little trusted as any task: its replies are parsed, and written anew.
"""

import asyncio
import logging
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Protocol

import aiohttp
from aiohttp import web
from yarl import URL

from fetchml.access import Admission
from fetchml.api import jupyter_page
from fetchml.api.body import read_pieces
from fetchml.api.call import Call
from fetchml.api.convert import rfc3339
from fetchml.api.errors import MethodNotAllowed
from fetchml.api.jupyter_headers import Target, for_browser, for_jupyter, is_upgrade, parse_target
from fetchml.api.jupyter_socket import Refused, hand_on_socket
from fetchml.api.router import Route
from fetchml.api.streams import Streams, ended_with_client, send_pieces
from fetchml.errors import BadRequest, NotFound, RequestError, TooManyStreams, Unavailable
from fetchml.jupyter_link import JupyterLink
from fetchml.open_streams import OpenStreams
from fetchml.views import JupyterState

AT_ONCE = 200
"""Requests and sockets of one service."""
SOCKETS_AT_ONCE = 50
"""Of them: each kernel and terminal of an open page has one, and each may hold two large messages
in memory."""
MAX_PAGE_BYTES = 2 << 20
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

    def note_use(self, service_id: str) -> None: ...

    def state(self, service_id: str) -> JupyterState | None: ...


class JupyterProxy:
    def __init__(
        self,
        services: Services,
        admission: Admission,
        streams: Streams,
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
        self._open = OpenStreams(AT_ONCE)
        self._open_sockets = OpenStreams(SOCKETS_AT_ONCE)
        self._notice_js = jupyter_page.NOTICE_JS.read_bytes()

    def routes(self) -> list[Route]:
        places = ("/jupyter/{id}", "/jupyter/{id}/", "/jupyter/{id}/{path...}")
        return [Route("*", place, self.answer, keyless=True) for place in places]

    async def answer(self, call: Call, *_: str) -> web.StreamResponse:
        # The path as it came, not as the router has decoded it.
        request = call.request
        target = parse_target(request.raw_path)
        state = self._services.state(target.service_id) if target is not None else None
        if target is None or state is None:
            self._admission.count_refusal(request.headers.get("X-API-Key"), call.address)
            raise NotFound("There is no such Jupyter service")
        if request.method not in _METHODS:
            raise MethodNotAllowed(request.method, ", ".join(_METHODS))
        log.debug("%s %s%s", request.method, target.service_id, target.path)
        if not target.path:
            location = f"/jupyter/{target.service_id}/{target.query}"
            return web.Response(status=307, headers=call.headers({"Location": location}))
        if target.path.startswith("/.fetchml/"):
            return self._own(call, target, state)
        link = self._services.link(target.service_id)
        if link is None:
            return _instead(call, state)
        is_socket = is_upgrade(request.headers)
        with ExitStack() as stack:
            try:
                stack.enter_context(self._open.hold(target.service_id))
                if is_socket:
                    stack.enter_context(self._open_sockets.hold(target.service_id))
            except TooManyStreams:
                raise Unavailable(
                    f"More than {AT_ONCE} requests or {SOCKETS_AT_ONCE} sockets of this service "
                    "are open at once: close some of its pages"
                ) from None
            if is_socket:
                return await self._socket(call, link, target)
            with ended_with_client(call):
                return await self._request(call, link, target)

    def _own(self, call: Call, target: Target, state: JupyterState) -> web.StreamResponse:
        """What the notice in its pages asks for; it is told no more than a time."""
        if target.path == "/.fetchml/notice.js":
            headers = call.headers(
                {"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache"}
            )
            return web.Response(body=self._notice_js, headers=headers)
        if target.path != "/.fetchml/notice":
            raise NotFound("There is nothing at this path")
        if jupyter_page.has_ended(state):
            raise NotFound("This Jupyter service has ended")
        body = {} if state.stops_at is None else {"stops_at": rfc3339(state.stops_at)}
        response = call.json(body)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _socket(self, call: Call, link: JupyterLink, target: Target) -> web.StreamResponse:
        try:
            return await hand_on_socket(
                call,
                link,
                target,
                self._streams,
                answer_seconds=self._answer_seconds,
                take_seconds=self._take_seconds,
            )
        except Refused as refused:
            text = f"Jupyter does not take this WebSocket: {refused.status}\n"
            headers = call.headers({"Content-Type": "text/plain; charset=utf-8"})
            return web.Response(status=refused.status, text=text, headers=headers)

    async def _request(self, call: Call, link: JupyterLink, target: Target) -> web.StreamResponse:
        request = call.request
        as_page = request.method == "GET" and jupyter_page.may_carry_notice(target.path)
        async with self._asked(call, link, target, plain=as_page) as answer:
            try:
                headers = for_browser(answer.headers, link.base_path)
            except ValueError:
                raise _nonsense() from None
            if not 200 <= answer.status < 600:
                raise _nonsense()
            if _is_use(request.method, target.path) and answer.status < 400:
                self._services.note_use(target.service_id)
            begun: list[bytes] = []
            if as_page and _is_page(answer):
                whole = await _read_page(answer, begun)
                if whole is not None:
                    page = jupyter_page.with_notice(whole, link.base_path)
                    return web.Response(body=page, headers=call.headers(headers))
            if (length := _length(answer)) is not None:
                headers["Content-Length"] = str(length)
            return await send_pieces(
                call, headers, _pieces(answer, begun), self._take_seconds, answer.status
            )

    @asynccontextmanager
    async def _asked(
        self, call: Call, link: JupyterLink, target: Target, *, plain: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Jupyter's answer, as soon as its head is there. Raises BadRequest, Unavailable.

        `plain`: it must not be packed.
        """
        request = call.request
        try:
            headers = for_jupyter(request.headers)
        except ValueError:
            raise BadRequest("A header can't be sent on as it is") from None
        if plain:
            headers["Accept-Encoding"] = "identity"
        upload = _Upload(request, self._take_seconds, self._answer_seconds)
        if request.body_exists and request.content_length is not None:
            headers["Content-Length"] = str(request.content_length)
        async with link.session(answer_seconds=self._answer_seconds) as session:
            try:
                async with asyncio.timeout(self._answer_seconds) as upload.patience:
                    answer = await session.request(
                        request.method,
                        URL(f"http://jupyter{target.whole}", encoded=True),
                        headers=headers,
                        data=upload.pieces() if request.body_exists else None,
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


class _Upload:
    """A request's body on its way to Jupyter."""

    def __init__(self, request: web.BaseRequest, take_seconds: float, answer_seconds: float):
        self.patience: asyncio.Timeout | None = None
        """Until Jupyter takes what it was sent, or answers."""
        self.fault: RequestError | None = None
        """What the client has done wrong."""
        self._request = request
        self._take_seconds = take_seconds
        self._answer_seconds = answer_seconds

    async def pieces(self) -> AsyncIterator[bytes]:
        pieces = read_pieces(self._request, max_bytes=sys.maxsize, stall_seconds=self._take_seconds)
        try:
            async for piece in pieces:
                self._wait_on()
                yield piece
                self._wait_on()
        except RequestError as error:
            self.fault = error
            raise

    def _wait_on(self) -> None:
        assert self.patience is not None  # noqa: S101  # set before the request
        with suppress(RuntimeError):  # It has answered already.
            deadline = asyncio.get_running_loop().time() + self._answer_seconds
            # The client has its own time to send the next piece.
            self.patience.reschedule(deadline + self._take_seconds)


def _instead(call: Call, state: JupyterState) -> web.StreamResponse:
    """For a service whose Jupyter does not answer now. Raises Unavailable, NotFound."""
    request, ended = call.request, jupyter_page.has_ended(state)
    if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        headers = call.headers(jupyter_page.PAGE_HEADERS)
        if not ended:
            headers["Retry-After"] = str(jupyter_page.RELOAD_SECONDS)
        status = 404 if ended else 503
        return web.Response(status=status, body=jupyter_page.page(state), headers=headers)
    if ended:
        raise NotFound(jupyter_page.sentence(state))
    raise Unavailable(jupyter_page.sentence(state))


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
            piece = await answer.content.readany()
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
