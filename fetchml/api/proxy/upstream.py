"""Requests to Jupyter with their bodies, and its replies."""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from fetchml.adapters.jupyter.link import http_session
from fetchml.api.http.body import read_pieces
from fetchml.api.http.errors import BodyTimeout
from fetchml.api.http.request import RestRequest
from fetchml.api.proxy.headers import Target, for_jupyter
from fetchml.errors import BadRequest, RequestError, Unavailable
from fetchml.ports.jupyter import JupyterLink

PIECE_BYTES = 64 << 10
"""Largest part of a reply that is forwarded in one write."""
MAX_PAGE_BYTES = 256 << 10
"""Larger pages carry no notice."""

log = logging.getLogger(__name__)


class Upstream(NamedTuple):
    """A program in a task that requests are forwarded to."""

    name: str
    """For messages; begins a sentence."""
    path: str
    """The path and the query of the request."""
    session: Callable[[float], aiohttp.ClientSession]
    """Returns a client that reaches it; takes the longest wait for the next byte of a reply."""
    headers: Callable[[CIMultiDictProxy[str]], CIMultiDict[str]]
    """Returns the headers of a request that it may see. Raises ValueError."""


def jupyter_upstream(link: JupyterLink, target: Target) -> Upstream:
    def session(answer_seconds: float) -> aiohttp.ClientSession:
        return http_session(link, answer_seconds=answer_seconds)

    def headers(reply_headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
        return for_jupyter(reply_headers, link)

    return Upstream("Jupyter", target.whole, session, headers)


@asynccontextmanager
async def open_reply(
    request: RestRequest,
    upstream: Upstream,
    body: bytes | None,
    *,
    plain: bool,
    client_seconds: float,
    jupyter_seconds: float,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request to Jupyter and yield its reply as soon as the head has arrived.

    `body`: the complete body if it has been read already, otherwise `None`. `plain`: request an
    uncompressed reply. Raises BadRequest, Unavailable.
    """
    http = request.http
    try:
        headers = upstream.headers(http.headers)
    except ValueError:
        raise BadRequest("A header cannot be forwarded: it has invalid characters") from None
    if plain:
        headers["Accept-Encoding"] = "identity"
    upload = Upload(http, client_seconds, jupyter_seconds)
    if body is None and http.body_exists and http.content_length is not None:
        headers["Content-Length"] = str(http.content_length)
    async with upstream.session(jupyter_seconds) as session:
        try:
            async with asyncio.timeout(jupyter_seconds) as upload.timeout:
                answer = await session.request(
                    http.method,
                    URL(f"http://jupyter{upstream.path}", encoded=True),
                    headers=headers,
                    data=upload.pieces() if body is None and http.body_exists else body,
                    allow_redirects=False,
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:  # also TimeoutError
            if upload.fault is not None:
                raise upload.fault from None
            log.debug("%s does not answer: %r", upstream.name, error)
            raise Unavailable(f"{upstream.name} does not respond") from error
        try:
            yield answer
        finally:
            answer.close()


def is_page(answer: aiohttp.ClientResponse) -> bool:
    """Return whether the reply is an uncompressed HTML page that may carry the notice."""
    length = body_length(answer)
    return (
        answer.status == 200
        and answer.content_type == "text/html"
        and answer.headers.get("Content-Encoding", "identity").lower() == "identity"
        and (length is None or length <= MAX_PAGE_BYTES)
    )


async def read_page(answer: aiohttp.ClientResponse, begun: list[bytes]) -> bytes | None:
    """Return the complete page. `None` if it is too large; `begun` then holds the part read."""
    size = 0
    async for piece in body_pieces(answer, []):
        begun.append(piece)
        size += len(piece)
        if size > MAX_PAGE_BYTES:
            return None
    return b"".join(begun)


async def body_pieces(answer: aiohttp.ClientResponse, begun: list[bytes]) -> AsyncGenerator[bytes]:
    """Yield the body, beginning with the part that was read before. Raises Unavailable."""
    for piece in begun:
        yield piece
    while True:
        try:
            piece = await answer.content.read(PIECE_BYTES)
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable("Truncated reply of Jupyter") from error
        if not piece:
            return
        yield piece


def body_length(answer: aiohttp.ClientResponse) -> int | None:
    """Return the body's length; `None` if Jupyter does not state it."""
    if "Transfer-Encoding" in answer.headers:
        return None
    return answer.content_length


def invalid_reply() -> Unavailable:
    """Return the error for a reply that cannot be forwarded."""
    return Unavailable("Jupyter's reply is not valid HTTP")


BODY_SECONDS = 3600.0
"""Longest time for a complete body from an authenticated visitor."""
ANONYMOUS_BODY_BYTES = 64 << 10
"""Largest body from an anonymous visitor; a login form is far smaller."""
ANONYMOUS_BODY_SECONDS = 10.0
"""Longest time for a complete body from an anonymous visitor."""


async def read_anonymous_body(request: RestRequest) -> bytes:
    """Read an anonymous visitor's complete body before contacting Jupyter. Raises BadRequest."""
    body = bytearray()
    try:
        async with asyncio.timeout(ANONYMOUS_BODY_SECONDS):
            async for piece in read_pieces(
                request.http,
                max_bytes=ANONYMOUS_BODY_BYTES,
                stall_seconds=2 * ANONYMOUS_BODY_SECONDS,
            ):
                body += piece
    except TimeoutError:
        raise BodyTimeout(ANONYMOUS_BODY_SECONDS) from None
    return bytes(body)


class Upload:
    """A request's body while it is forwarded to Jupyter."""

    def __init__(self, request: web.BaseRequest, client_seconds: float, jupyter_seconds: float):
        self.timeout: asyncio.Timeout | None = None
        """Limits the wait for Jupyter to read the last piece, or to answer."""
        self.fault: RequestError | None = None
        """The client's error; `None` if it made none."""
        self._request = request
        self._client_seconds = client_seconds
        self._jupyter_seconds = jupyter_seconds

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises BadRequest."""
        pieces = read_pieces(
            self._request, max_bytes=sys.maxsize, stall_seconds=self._client_seconds
        )
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            async for piece in pieces:
                if asyncio.get_running_loop().time() > deadline:
                    raise BodyTimeout(BODY_SECONDS)
                self._extend_timeout()
                yield piece
                self._extend_timeout()
        except RequestError as error:
            self.fault = error
            raise

    def _extend_timeout(self) -> None:
        assert self.timeout is not None  # noqa: S101  # Set before the request is sent.
        with suppress(RuntimeError):  # Jupyter has answered already.
            deadline = asyncio.get_running_loop().time() + self._jupyter_seconds
            # The client's own time to send the next piece comes on top.
            self.timeout.reschedule(deadline + self._client_seconds)
