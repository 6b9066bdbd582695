"""Changes that wait for others, to become durable in one commit with them."""

import asyncio
from collections.abc import Callable, Sequence

from fetchml.core.model import Change, Task
from fetchml.ports.store import Document


class HeldChanges:
    """Used from one event loop. Call `add` for each decision, then `follow` once."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.documents: list[Document] = []
        self.encoded: list[str] = []
        """The record of each change."""
        self._waiting: list[asyncio.Future[None]] = []

    def add(
        self,
        changes: Sequence[Change],
        documents: Sequence[Document],
        encoded: Sequence[str],
        encode: Callable[[Task], str],
    ) -> asyncio.Future[None]:
        """Return a future that is done when these changes are durable and published. `encoded`:
        see `Store.append`. Raises UnicodeEncodeError, with nothing done."""
        rest = [encode(change.task) for change in changes[len(encoded) :]]
        self.changes += changes
        self.documents += documents
        self.encoded += encoded
        self.encoded += rest
        # One future a call: cancelling one waiter must not cancel the others.
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def follow(self, durable: asyncio.Future[None]) -> None:
        """Let the futures of `add` end as this one does."""
        durable.add_done_callback(self._end)

    def _end(self, durable: asyncio.Future[None]) -> None:
        error = None if durable.cancelled() else durable.exception()
        for future in self._waiting:
            if future.done():  # A waiter may have been cancelled.
                continue
            if durable.cancelled():
                future.cancel()
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(None)
