"""Request bodies that are forwarded to Jupyter."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from fetchml.api.http.body import read_pieces
from fetchml.api.http.errors import BodyTimeout
from fetchml.api.http.request import RestRequest
from fetchml.errors import RequestError

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
