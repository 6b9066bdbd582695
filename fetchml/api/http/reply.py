"""Replies over HTTP, and limits on the memory of bodies and of unread replies."""

import functools
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from fetchml.api.http.errors import SERVER
from fetchml.auth.limits import RateState, byte_budget
from fetchml.system.caller_budget import CallerBudget
from fetchml.system.pacing import Pace

JSON = {"Content-Type": "application/json", "Server": SERVER}
_HEADS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    + b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in JSON.items())
    for status in HTTPStatus
}
"""Status → the first lines of a JSON reply."""

_LIMITED = b"RateLimit-Limit: %d\r\nRateLimit-Remaining: %d\r\nRateLimit-Reset: %d\r\n"

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
        self.bodies = byte_budget("bodies", by_caller=BODIES_BY_CALLER, in_all=BODIES_IN_ALL)
        """Bodies of requests that are being received or answered."""
        self.replies = byte_budget("replies", by_caller=REPLIES_BY_CALLER, in_all=REPLIES_IN_ALL)
        """Replies that clients have not read."""


@functools.lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


class JsonReply(web.StreamResponse):
    """A small JSON reply without additional headers. It is usually written in one piece, so that
    a submit costs an eighth less than with a `web.Response`."""

    def __init__(self, body: bytes, status: int, limit: RateState | None) -> None:
        """`limit`: `None` if the caller's requests are not limited."""
        super().__init__(status=status)
        self._content = body
        self._limit = limit
        self._is_written = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the whole reply if nothing else waits to be sent and the connection stays open.
        aiohttp calls this method."""
        wire, body, limit = request.transport, self._content, self._limit
        if (
            wire is None
            or wire.get_write_buffer_size()
            or request.version != HttpVersion11
            or request.method == "HEAD"
            or not request.keep_alive
            or super().keep_alive is False
        ):
            self.headers.update(JSON if limit is None else JSON | limit_headers(limit))
            self.content_length = len(body)
            if request.method == "HEAD":
                self._content = b""
            return await super().prepare(request)
        limited = b""
        if limit is not None:
            limited = _LIMITED % (limit.limit, limit.remaining, limit.reset_seconds)
        wire.write(
            b"%b%bContent-Length: %d\r\nDate: %b\r\n\r\n%b"
            % (_HEADS[self.status], limited, len(body), _date(int(time.time())), body)
        )
        self._is_written = True
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        content, self._content = self._content, b""  # aiohttp keeps it until the next request.
        if not self._is_written:
            await super().write_eof(content)

    @property
    def keep_alive(self) -> bool | None:
        return True if self._is_written else super().keep_alive


def limit_headers(limit: RateState) -> dict[str, str]:
    """Return the headers of the rate limit (contract reading 32)."""
    return {
        "RateLimit-Limit": str(limit.limit),
        "RateLimit-Remaining": str(limit.remaining),
        "RateLimit-Reset": str(limit.reset_seconds),
    }


class Reply(web.StreamResponse):
    """A reply whose bytes are counted until they are handed to the network."""

    def __init__(
        self,
        budget: CallerBudget,
        caller: str,
        pieces: Pieces,
        *,
        status: int,
        headers: Mapping[str, str],
    ) -> None:
        """Raises TooManyBytes, Overloaded."""
        size = sum(map(len, pieces))
        budget.take(caller, size)
        super().__init__(status=status, headers=headers)
        self.content_length = size
        self._pieces = pieces
        self._counted = (budget, caller, size)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        try:
            if request.method == "HEAD":
                self._pieces = ()
            return await super().prepare(request)
        except BaseException:
            self._release()
            raise

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the body as fast as the client reads it. aiohttp calls this method."""
        pace = Pace()
        try:
            for piece in self._pieces:
                for first in range(0, len(piece), PIECE_BYTES):
                    # A client that reads fast takes all of it without a wait.
                    if pace.due:
                        await pace.turn()
                    await self.write(memoryview(piece)[first : first + PIECE_BYTES])
            await super().write_eof(data)
        finally:
            self._release()

    def _release(self) -> None:
        """Stop counting the body and drop it: aiohttp keeps the reply until the next request."""
        budget, caller, size = self._counted
        self._counted, self._pieces = (budget, caller, 0), ()
        budget.give_back(caller, size)
