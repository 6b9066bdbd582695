"""The small collections that are in memory and in the store."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from fetchml.records import RecordSet


class Item(msgspec.Struct, frozen=True):
    id: str
    value: int = 0
    secret: str = ""


class Documents:
    """A store in memory whose writes can be held up, or fail."""

    def __init__(self) -> None:
        self.data: dict[tuple[str, str], bytes] = {}
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.asked = asyncio.Event()
        self.fails = False

    async def put_document(self, kind: str, document_id: str, data: bytes) -> None:
        await self._written()
        self.data[kind, document_id] = data

    async def delete_document(self, kind: str, document_id: str) -> None:
        await self._written()
        self.data.pop((kind, document_id), None)

    async def list_documents(self, kind: str) -> list[bytes]:
        return [data for (found, _), data in sorted(self.data.items()) if found == kind]

    async def _written(self) -> None:
        self.asked.set()
        await self.may_write.wait()
        if self.fails:
            raise OSError("the disk fails")


def record_set(documents: Documents) -> RecordSet[Item]:
    return RecordSet(
        documents,
        "item",
        Item,
        lambda item: item.id,
        stored=lambda item: replace(item, secret=""),
    )


async def reopened(documents: Documents) -> RecordSet[Item]:
    records = record_set(documents)
    await records.load()
    return records


async def test_records_outlive_a_restart_in_the_order_of_their_ids() -> None:
    documents = Documents()
    records = await reopened(documents)
    for name in ("b", "c", "a"):
        await records.put(Item(name))
    await records.put(Item("c", 2))
    await records.remove("b")
    await records.remove("none")
    documents.data["other kind", "d"] = b"{}"

    assert list(records) == [Item("c", 2), Item("a")]
    assert list(records.newest_first()) == [Item("a"), Item("c", 2)]
    again = await reopened(documents)
    assert list(again) == [Item("a"), Item("c", 2)]
    assert again.get("a") == Item("a")
    assert again.get("b") is None
    assert again.ids() == {"a", "c"}
    assert len(again) == 2
    assert "b" not in again


async def test_a_record_shows_only_once_it_is_durable() -> None:
    documents = Documents()
    records = await reopened(documents)
    await records.put(Item("kept"))
    documents.may_write.clear()
    documents.asked.clear()
    putting = asyncio.create_task(records.put(Item("new")))
    await documents.asked.wait()
    assert records.ids() == {"kept"}
    documents.asked.clear()
    removing = asyncio.create_task(records.remove("kept"))
    await documents.asked.wait()
    assert records.ids() == {"kept"}
    documents.may_write.set()
    await asyncio.gather(putting, removing)
    assert records.ids() == {"new"}


async def test_a_record_that_cannot_be_stored_changes_nothing() -> None:
    documents = Documents()
    records = await reopened(documents)
    await records.put(Item("a", 1))
    documents.fails = True
    with pytest.raises(OSError, match="the disk fails"):
        await records.put(Item("a", 2))
    with pytest.raises(OSError, match="the disk fails"):
        await records.remove("a")
    assert list(records) == [Item("a", 1)]


async def test_the_stored_form_leaves_out_what_must_not_lie_on_the_disk() -> None:
    documents = Documents()
    records = await reopened(documents)
    await records.put(Item("a", secret="word"))
    assert records.get("a") == Item("a", secret="word")
    assert list(await reopened(documents)) == [Item("a")]


async def test_loading_completes_records_and_removes_obsolete_ones() -> None:
    documents = Documents()
    records = await reopened(documents)
    for value, name in enumerate("abc"):
        await records.put(Item(name, value))

    async def keep(item: Item) -> Item | None:
        return None if item.value == 1 else replace(item, secret="word")

    again = record_set(documents)
    await again.load(keep)
    assert list(again) == [Item("a", 0, "word"), Item("c", 2, "word")]
    assert (await reopened(documents)).ids() == {"a", "c"}


async def test_a_change_goes_on_when_its_caller_is_cancelled() -> None:
    documents = Documents()
    records = await reopened(documents)
    documents.may_write.clear()
    changing = asyncio.create_task(records.change(records.put, Item("a")))
    await documents.asked.wait()
    changing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await changing
    documents.may_write.set()
    await records.settled()
    assert records.ids() == (await reopened(documents)).ids() == {"a"}


async def test_changes_never_overlap() -> None:
    records = await reopened(Documents())
    await records.put(Item("a"))

    async def add_one() -> None:
        found = records.get("a")
        assert found is not None
        await asyncio.sleep(0)
        await records.put(replace(found, value=found.value + 1))

    await asyncio.gather(*(records.change(add_one) for _ in range(10)))
    assert records.get("a") == Item("a", 10)


async def test_what_is_only_in_memory_is_lost_unless_it_is_stored() -> None:
    documents = Documents()
    records = await reopened(documents)
    await records.put(Item("a"))
    records.remember(Item("b"))
    assert records.forget("a") == Item("a")
    assert records.forget("a") is None
    assert records.ids() == {"b"}
    assert (await reopened(documents)).ids() == {"a"}
