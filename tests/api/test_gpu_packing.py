"""Packing over REST and gRPC: the room on GPUs, and metrics."""

from typing import Any

from fetchml.auth.audit import Audit
from fetchml.core.model import Principal, Role
from fetchml.engine.explain import explain
from fetchml.system.clock import Clock
from fetchml.v1 import gpu_pb2
from tests.support import grpc_world, rest_world
from tests.support.memory_store import MemoryStore
from tests.support.stub_gpus import gpu_box, reading

PATH = "/v1/gpus"


async def test_private_mode_hides_what_others_jobs_need() -> None:
    store: Any = MemoryStore()
    box = await gpu_box(store, Audit(store, clock_ms=Clock()), private=True)
    known = box.pack()
    known.learn(("ada", "train"), 4_096)
    known.learn(("bob", "train"), 4_096)
    box.see(reading(0))
    box.run("a", user="ada")

    def room(user: str, role: Role = Role.USER) -> int | None:
        return box.gpus.list(Principal(user, role, "")).gpus[0].packing_room_mb

    assert room("ada") == room("root", Role.ADMIN) == 81_920 * 9 // 10 - 4_096
    assert room("bob") is None
    box.run("b", user="bob")
    assert room("root", Role.ADMIN) == 0, "there is no third slot"
    assert room("ada") is room("bob") is None
    reason = explain(box.state, box.state.tasks["b"], 0, may_name=lambda _: False).reason
    assert "ada" not in reason


async def test_room_for_another_task(rest: rest_world.World, world: grpc_world.World) -> None:
    for box in (rest.box, world.box):
        box.pack().learn(("user", "train"), 4_096)
        box.see(reading(0))
        box.run("t")
    (found,) = (await rest.client.get(PATH)).json["gpus"]
    assert found["packing_room_mb"] == 81_920 * 9 // 10 - 4_096
    calls = world.client.gpus
    (same,) = (await calls.ListGpus(gpu_pb2.ListGpusRequest())).gpus
    assert same.packing_room_mb == found["packing_room_mb"]


async def test_packing_metrics(rest: rest_world.World) -> None:
    name = "fetchml_gpu_packed"
    assert name not in (await rest.client.get("/metrics")).body.decode()
    rest.box.pack().learn(("user", "train"), 1)
    rest.box.see(reading(0))
    rest.box.run("t")
    rest.box.run("u")
    lines = (await rest.client.get("/metrics")).body.decode().splitlines()
    assert f"{name}_starts_total 1.0" in lines
    assert f"{name}_out_of_memory_total 0.0" in lines
