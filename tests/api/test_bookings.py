"""Bookings of GPUs over REST and gRPC, on real sockets, with the real core below."""

from typing import Any, cast

import msgspec
import pytest

from fetchml.attempts.hosts import ClusterHost
from fetchml.auth.audit import Audit
from fetchml.core.bookings.booking import MOST_BOOKINGS
from fetchml.core.model import Principal, Role
from fetchml.engine.gpus.bookings import GpuBookings
from fetchml.errors import Conflict, DiskFull, Forbidden
from fetchml.system.clock import Clock
from tests.support import rest_world
from tests.support.memory_store import MemoryStore
from tests.support.rest_world import JSON
from tests.support.stub_gpus import START_MS, GpuBox, gpu_box, reading

PATH = "/v1/bookings"
ADMIN, USER, OTHER = (
    Principal(name, role, "")
    for name, role in (("root", Role.ADMIN), ("ada", Role.USER), ("bob", Role.USER))
)


def at(hours: float) -> str:
    """After the world's only time, which is START_MS."""
    return f"2025-10-09T{8 + int(hours):02}:53:20Z"


def asked(**fields: object) -> dict[str, object]:
    return {"user_id": "ada", "ends_at": at(4), **fields}


def body(**fields: object) -> bytes:
    return msgspec.json.encode(asked(**fields))


async def box_of(*, private: bool = False, store: Any = None) -> GpuBox:
    store = MemoryStore() if store is None else store
    box = await gpu_box(store, Audit(store, clock_ms=Clock()), private=private)
    box.see(reading(0), reading(1), reading(2))
    return box


async def test_booking_is_made_listed_and_removed(rest: rest_world.World) -> None:
    rest.box.see(reading(0), reading(1))
    admin = rest.as_(rest.secrets[Role.ADMIN])
    wanted = body(gpu_uuids=["GPU-1000"], starts_at=at(2))
    made = await admin.ask("POST", PATH, wanted, **JSON)
    assert made.status == 201
    assert made.json == {
        "id": made.json["id"],
        "user_id": "ada",
        "gpu_uuids": ["GPU-1000"],
        "starts_at": "2025-10-09T10:53:20.000Z",
        "ends_at": "2025-10-09T12:53:20.000Z",
        "created_at": "2025-10-09T08:53:20.000Z",
        "created_by": "admin",
    }
    assert (await rest.client.get(PATH)).json == {"bookings": [made.json]}
    assert rest.box.run("a") == ("GPU-0000",)
    assert rest.box.run("b") == (), "it has no time limit"
    taken = await admin.ask("POST", PATH, wanted, **JSON)
    assert (taken.status, taken.code) == (409, "CONFLICT")
    assert "reserved for ada" in taken.error
    gone = await admin.ask("DELETE", f"{PATH}/{made.json['id']}")
    assert gone.status == 204
    assert rest.box.state.tasks["b"].gpu_uuids == ("GPU-1000",)
    again = await admin.ask("DELETE", f"{PATH}/{made.json['id']}")
    assert (again.status, again.code) == (404, "NOT_FOUND")
    assert (await rest.client.get(PATH)).json == {"bookings": []}
    assert [(entry.action, entry.target, entry.detail) for entry in rest.store.audit] == [
        ("booking.create", made.json["id"], "ada: GPU-1000"),
        ("booking.delete", made.json["id"], "ada"),
    ]


async def test_hostile_request_changes_nothing(rest: rest_world.World) -> None:
    for sent in [
        b"{}",
        body(),
        body(gpu=2),
        body(gpu=1, gpu_uuids=["GPU-0000"]),
        body(gpu_uuids=["GPU-9"]),
        body(gpu_uuids=["x" * 257]),
        body(gpu_uuids=["GPU-0000"] * 1001),
        body(gpu=1, user_id="a\x1b[2J"),
        b'{"user_id": "\\ud800", "gpu": 1, "ends_at": "2025-10-09T12:53:20Z"}',
        body(gpu=1, ends_at="9999-12-31T23:59:59Z"),
        body(gpu=1, starts_at="0001-01-01T00:00:00Z"),
        body(gpu=1 << 40),
    ]:
        rest.box.see(reading(0))
        admin = rest.as_(rest.secrets[Role.ADMIN])
        refused = await admin.ask("POST", PATH, sent, **JSON)
        assert refused.status in (409, 422, 400), refused.body
        assert len(refused.error) < 1000
        assert (await admin.get(PATH)).json == {"bookings": []}


async def test_private_server_hides_the_names_of_others() -> None:
    box = await box_of(private=True)
    made = await box.gpus.bookings.create(ADMIN, asked(gpu=1))
    assert box.gpus.bookings.list(ADMIN) == box.gpus.bookings.list(USER) == [made]
    [seen] = box.gpus.bookings.list(OTHER)
    assert (seen.user, seen.created_by, seen.gpu_uuids) == ("", "", made.gpu_uuids)
    box = await box_of()
    made = await box.gpus.bookings.create(ADMIN, asked(gpu=1))
    assert box.gpus.bookings.list(OTHER) == [made]


async def test_bookings_survive_a_restart_and_ended_ones_are_removed() -> None:
    store = MemoryStore()
    box = await box_of(store=store)
    made = await box.gpus.bookings.create(ADMIN, asked(gpu=1))
    ended = msgspec.structs.replace(made, id="ended", ends_at=START_MS)
    await store.put_document("booking", "ended", msgspec.json.encode(ended))
    again = await box_of(store=store)
    await again.gpus.bookings.load()
    assert again.gpus.bookings.list(ADMIN) == [made]
    assert len(await store.list_documents("booking")) == 1
    assert again.state.bookings.on(made.gpu_uuids, START_MS) == [made]


async def test_number_of_bookings_is_bounded_and_a_full_disk_refuses() -> None:
    box = await box_of()
    bookings = box.gpus.bookings
    made = await bookings.create(ADMIN, asked(gpu=1, ends_at=at(1)))
    for number in range(MOST_BOOKINGS - 1):
        bookings._records.remember(msgspec.structs.replace(made, id=str(number)))
    with pytest.raises(Conflict, match="Limit of"):
        await box.gpus.bookings.create(ADMIN, asked(gpu=1, starts_at=at(2)))
    box.gpus.bookings._store.has_room = lambda: False  # type: ignore[method-assign]
    with pytest.raises(DiskFull):
        await box.gpus.bookings.create(ADMIN, asked(gpu=1, starts_at=at(2)))


async def test_gpus_that_work_are_chosen_first() -> None:
    box = await box_of()
    await box.gpus.drain(ADMIN, "GPU-0000")
    made = await box.gpus.bookings.create(ADMIN, asked(gpu=2))
    assert made.gpu_uuids == ("GPU-1000", "GPU-2000")
    other = await box.gpus.bookings.create(ADMIN, asked(gpu=1))
    assert other.gpu_uuids == ("GPU-0000",)
    with pytest.raises(Conflict, match="1 GPU can't be reserved: fewer have no other res"):
        await box.gpus.bookings.create(ADMIN, asked(gpu=1))


async def test_cluster_reserves_by_itself() -> None:
    store: Any = MemoryStore()
    audit, cluster, box = Audit(store, clock_ms=Clock()), cast("Any", None), await box_of()
    bookings = GpuBookings(
        store,
        box.state,
        audit,
        ClusterHost(cluster),
        report=box.report,
        clock=lambda: 0,
        private=False,
    )
    with pytest.raises(Forbidden, match="scontrol create reservation"):
        await bookings.create(ADMIN, asked(gpu=1))
