"""Changes that wait for others, to become durable in one commit with them."""

import asyncio
from collections.abc import Callable, Collection, Sequence

from msgspec.structs import replace

from fetchml.core.model import Change, Task
from fetchml.ports.store import Document


class HeldChanges:
    """Used from one event loop. Call `add` for each decision, then `follow` or `end` once."""

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

    def drop(self, task_ids: Collection[str], documents: Collection[Document]) -> list[int]:
        """Forget the changes of these tasks, and these documents. Return the numbers of the
        forgotten changes, in order; those of the others leave no gap then."""
        dropped: list[int] = []
        changes, encoded = self.changes, self.encoded
        self.changes, self.encoded = [], []
        for change, record in zip(changes, encoded, strict=True):
            if change.task.id in task_ids:
                dropped.append(change.seq)
            else:
                self.changes.append(replace(change, seq=change.seq - len(dropped)))
                self.encoded.append(record)
        self.documents = [each for each in self.documents if each not in documents]
        return dropped

    def follow(self, durable: asyncio.Future[None]) -> None:
        """Let the futures of `add` end as this one does."""
        durable.add_done_callback(self._follow)

    def _follow(self, durable: asyncio.Future[None]) -> None:
        if durable.cancelled():
            self.end(asyncio.CancelledError())
        else:
            self.end(durable.exception())

    def end(self, error: BaseException | None = None) -> None:
        """Let the futures of `add` end: with this error, unless it is `None`."""
        for future in self._waiting:
            if future.done():  # A waiter may have been cancelled.
                continue
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(None)
