"""Small collections: all records in memory, and each stored on its own, without a journal."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

import msgspec

from fetchml.system.background import BackgroundWork

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)


class Documents(Protocol):
    """The part of the store that holds such records (`ports.store`)."""

    async def put_document(self, kind: str, document_id: str, data: bytes) -> None: ...

    async def delete_document(self, kind: str, document_id: str) -> None: ...

    async def list_documents(self, kind: str) -> list[bytes]: ...


class RecordSet(Generic[R]):
    """All records of one kind. Used from one event loop, after `load`.

    A record changes in the store first, and then in memory: no reader gets what a crash could take
    back, and no caller has an answer before the record is durable.
    """

    def __init__(
        self,
        store: Documents,
        kind: str,
        record_type: type[R],
        id_of: Callable[[R], str],
        *,
        stored: Callable[[R], R] = lambda record: record,
    ) -> None:
        """`id_of`: the record's id in the store. `stored`: the form that the store keeps, without
        what must not lie on the disk."""
        self._store = store
        self._kind = kind
        self._decode = msgspec.json.Decoder(record_type).decode
        self._id_of = id_of
        self._stored = stored
        self._by_id: dict[str, R] = {}
        self._changing = asyncio.Lock()
        self._background = BackgroundWork()

    async def load(self, keep: Callable[[R], Awaitable[R | None]] | None = None) -> None:
        """Read all records, in the order of their ids, from the open store.

        `keep` returns the record as it goes into memory; `None` if it is obsolete and goes from
        the store.
        """
        for record in map(self._decode, await self._store.list_documents(self._kind)):
            loaded = record if keep is None else await keep(record)
            if loaded is None:
                await self._store.delete_document(self._kind, self._id_of(record))
            else:
                self.remember(loaded)

    def get(self, record_id: str) -> R | None:
        return self._by_id.get(record_id)

    def ids(self) -> frozenset[str]:
        return frozenset(self._by_id)

    def newest_first(self) -> Iterator[R]:
        """In the reverse order of their addition."""
        return reversed(self._by_id.values())

    def __iter__(self) -> Iterator[R]:
        """In the order of their addition. Not to be changed meanwhile."""
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._by_id

    async def change(
        self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs
    ) -> T:
        """Run `work` to completion, also if the caller is cancelled, and no other one meanwhile.

        So a record cannot change between its being read and its being stored.
        """

        async def alone() -> T:
            async with self._changing:
                return await work(*args, **options)

        return await self._background.run_to_completion(alone())

    async def put(self, record: R) -> None:
        """Add or replace a record; durable on return."""
        data = msgspec.json.encode(self._stored(record))
        await self._store.put_document(self._kind, self._id_of(record), data)
        self.remember(record)

    async def remove(self, record_id: str) -> None:
        """Remove a record if it is there; durable on return."""
        await self._store.delete_document(self._kind, record_id)
        self.forget(record_id)

    def remember(self, record: R) -> None:
        """Add or replace a record in memory only: it is lost unless `put` follows."""
        self._by_id[self._id_of(record)] = record

    def forget(self, record_id: str) -> R | None:
        """Take a record out of memory only: it comes back at a restart unless `remove` follows."""
        return self._by_id.pop(record_id, None)

    async def settled(self) -> None:
        """Return when no change is under way."""
        await self._background.wait()
