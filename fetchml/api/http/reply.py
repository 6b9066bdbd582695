"""What callers make the server hold on their way in and out: bodies, and replies not yet read."""

from typing import Any

from aiohttp import web

from fetchml.system.byte_budget import ByteBudget

SMALL_BYTES = 64 * 1024
"""What is no larger is not counted: every connection holds so much in any case."""
BODIES_BY_CALLER = 16 << 20
BODIES_IN_ALL = 64 << 20
REPLIES_BY_CALLER = 64 << 20
REPLIES_IN_ALL = 256 << 20
PIECE_BYTES = 256 * 1024
"""Larger replies are handed to the connection in pieces: it copies what it is given."""


class Budgets:
    def __init__(self) -> None:
        self.bodies = ByteBudget("bodies", by_caller=BODIES_BY_CALLER, in_all=BODIES_IN_ALL)
        """Of requests that are received or answered."""
        self.replies = ByteBudget("replies", by_caller=REPLIES_BY_CALLER, in_all=REPLIES_IN_ALL)
        """That clients have not read."""


class Reply(web.Response):
    """Counted until it was handed to the network."""

    def __init__(self, budget: ByteBudget, caller: str, body: bytes, **settings: Any) -> None:
        """Raises TooManyBytes, Overloaded."""
        budget.take(caller, len(body))
        super().__init__(body=body, **settings)
        self._counted = (budget, caller, len(body))

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the body as fast as the client takes it. aiohttp calls this."""
        if not isinstance(self.body, bytes) or self._must_be_empty_body:  # The reply to HEAD.
            await super().write_eof(data)
            return
        body = memoryview(self.body)
        for first in range(0, len(body), PIECE_BYTES):
            await self.write(body[first : first + PIECE_BYTES])
        await web.StreamResponse.write_eof(self)

    def sent(self) -> None:
        """It is held no longer: it was sent, or given up."""
        budget, caller, size = self._counted
        self._counted = (budget, caller, 0)
        budget.give_back(caller, size)
