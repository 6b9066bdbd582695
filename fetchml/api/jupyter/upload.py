"""Bodies of requests on their way to Jupyter."""

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
"""For a whole body of a known visitor."""
STRANGERS_BODY_BYTES = 64 << 10
"""A login form is far smaller."""
STRANGERS_BODY_SECONDS = 10.0
"""For a whole body."""


async def strangers_body(request: RestRequest) -> bytes:
    """The whole of it, before Jupyter is asked. Raises BadRequest."""
    body = bytearray()
    try:
        async with asyncio.timeout(STRANGERS_BODY_SECONDS):
            async for piece in read_pieces(
                request.http,
                max_bytes=STRANGERS_BODY_BYTES,
                stall_seconds=2 * STRANGERS_BODY_SECONDS,
            ):
                body += piece
    except TimeoutError:
        raise BodyTimeout(STRANGERS_BODY_SECONDS) from None
    return bytes(body)


class Upload:
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
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            async for piece in pieces:
                if asyncio.get_running_loop().time() > deadline:
                    raise BodyTimeout(BODY_SECONDS)
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
