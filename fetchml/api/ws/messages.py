"""The messages of `/ws` about tasks, as JSON."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from weakref import WeakKeyDictionary

import msgspec

from fetchml.api.task_json import batch_json, update_json
from fetchml.views import Batch, Update, UpdateType

_encode = msgspec.json.Encoder().encode


async def each_change(updates: AsyncGenerator[Update], *, full: bool) -> AsyncGenerator[bytes]:
    """A message for each update. `full`: in the full view, with deletions, for which the contract
    defines no message."""
    async with aclosing(updates):
        async for update in updates:
            if full or update.type is not UpdateType.TASK_DELETED:
                yield _encode(update_json(update, full=full))


class BatchMessages:
    """Messages of batches, which are encoded once for all connections that send the same."""

    def __init__(self) -> None:
        self._encoded: WeakKeyDictionary[Batch, dict[bool, bytes]] = WeakKeyDictionary()
        """By batch and whether it is in the full view, as long as the batch is in memory."""

    async def of(
        self, batches: AsyncGenerator[Batch | Update], *, full: bool
    ) -> AsyncGenerator[bytes]:
        async with aclosing(batches):
            async for item in batches:
                yield self._batch(item, full) if isinstance(item, Batch) else _resync(item)

    def _batch(self, batch: Batch, full: bool) -> bytes:
        encoded = self._encoded.setdefault(batch, {})
        if full not in encoded:
            encoded[full] = _encode(batch_json(batch, full=full))
        return encoded[full]


def _resync(update: Update) -> bytes:
    return _encode(update_json(update))
