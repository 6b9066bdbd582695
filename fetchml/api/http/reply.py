"""Replies over HTTP, and limits on the memory of bodies and of unread replies."""

from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from fetchml.api.http.errors import SERVER
from fetchml.auth.limits import RateState
from fetchml.system.byte_budget import ByteBudget
from fetchml.system.pacing import Pace

JSON = {"Content-Type": "application/json", "Server": SERVER}
_HEADS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in JSON.items())
    for status in HTTPStatus
}
"""Status → the first lines of a JSON reply."""

T = TypeVar("T")
Pieces = Sequence[bytes | memoryview]
"""The body of a reply, in order."""

SMALL_BYTES = 64 * 1024
"""Bodies and replies up to this size are not counted: the bound on connections covers them."""
BODIES_BY_CALLER = 16 << 20
BODIES_IN_ALL = 64 << 20
REPLIES_BY_CALLER = 64 << 20
REPLIES_IN_ALL = 256 << 20
PIECE_BYTES = 256 * 1024
"""Larger replies are passed to the connection in pieces, since it copies its input."""


class Budgets:
    """The memory limits that all HTTP requests share."""

    def __init__(self) -> None:
        self.bodies = ByteBudget("bodies", by_caller=BODIES_BY_CALLER, in_all=BODIES_IN_ALL)
        """Bodies of requests that are being received or answered."""
        self.replies = ByteBudget("replies", by_caller=REPLIES_BY_CALLER, in_all=REPLIES_IN_ALL)
        """Replies that clients have not read."""


class JsonReply(web.StreamResponse):
    """A small JSON reply with no headers of its own, which the connection writes in one piece. A
    `web.Response` costs a submit an eighth more, so this class sets up nothing of its parent."""

    _keep_alive = True

    def __init__(self, body: bytes, status: int, limit: RateState | None) -> None:
        """`limit`: `None` if the caller's requests are not limited."""
        self._status = status
        self._content = body
        self._limit = limit
        head = _HEADS[status]
        if limit is not None:
            head += (
                f"RateLimit-Limit: {limit.limit}\r\nRateLimit-Remaining: {limit.remaining}\r\n"
                f"RateLimit-Reset: {limit.reset_seconds}\r\n"
            )
        head += f"Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}\r\n\r\n"
        self.wire = head.encode("ascii") + body
        """The reply in HTTP/1.1 to a request that keeps the connection open, and is not HEAD."""

    def response(self) -> web.Response:
        """Return the same reply for any version of HTTP, and for HEAD."""
        headers = JSON if self._limit is None else JSON | limit_headers(self._limit)
        response = web.Response(body=self._content, status=self._status, headers=headers)
        if not self._keep_alive:
            response.force_close()
        return response


def limit_headers(limit: RateState) -> dict[str, str]:
    """Return the headers of the rate limit (contract reading 32)."""
    return {
        "RateLimit-Limit": str(limit.limit),
        "RateLimit-Remaining": str(limit.remaining),
        "RateLimit-Reset": str(limit.reset_seconds),
    }


class SmallReply(web.Response):
    """A whole reply that is not counted."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the reply, body included, if the connection stays open. aiohttp calls this method;
        its own provides for HTTP/1.0, cookies, compression and bodies of unknown length, and takes
        three times as long."""
        body, stays_open = self._body, request.keep_alive and self._keep_alive is not False
        if not (stays_open and request.version == HttpVersion11 and isinstance(body, bytes)):
            return await super().prepare(request)
        if request.method == "HEAD":
            return await super().prepare(request)
        self._keep_alive = self._eof_sent = True
        headers, writer = self._headers, request.writer
        headers["Content-Length"] = str(len(body))
        headers["Date"] = rfc822_formatted_time()
        await writer.write_headers(f"HTTP/1.1 {self._status} {self._reason}", headers)
        await writer.write_eof(body)
        return None


class Reply(web.Response):
    """A reply whose bytes are counted until they are handed to the network."""

    def __init__(self, budget: ByteBudget, caller: str, pieces: Pieces, **settings: Any) -> None:
        """Raises TooManyBytes, Overloaded."""
        size = sum(map(len, pieces))
        budget.take(caller, size)
        super().__init__(**settings)
        self._headers["Content-Length"] = str(size)
        self.pieces = pieces
        self._counted = (budget, caller, size)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the body as fast as the client reads it. aiohttp calls this method."""
        if self._must_be_empty_body:  # The reply to HEAD.
            await super().write_eof(data)
            return
        pace = Pace()
        for piece in self.pieces:
            for first in range(0, len(piece), PIECE_BYTES):
                # A client that reads fast takes all of it without a wait.
                if pace.due:
                    await pace.turn()
                await self.write(memoryview(piece)[first : first + PIECE_BYTES])
        await web.StreamResponse.write_eof(self)

    async def counted(self, finishing: Awaitable[T]) -> T:
        """Stop counting the reply once `finishing` has sent or abandoned it."""
        try:
            return await finishing
        finally:
            budget, caller, size = self._counted
            self._counted = (budget, caller, 0)
            budget.give_back(caller, size)
