"""Nodes as old and new versions of Slurm report them, and when Slurm is asked for them."""

import asyncio
from collections.abc import Mapping

import msgspec
import pytest

from fetchml.adapters.slurm import nodes
from fetchml.adapters.slurm.nodes import NodeEntry, NodeWatch
from fetchml.adapters.slurm.transport import SlurmAway
from fetchml.ports.cluster import Node
from tests.support.waiting import eventually

REST = {
    "name": "g1",
    "state": ["IDLE", "DRAIN"],
    "reason": "bad fan | x",
    "reason_set_by_user": "root",
    "cpus": 8,
    "alloc_cpus": 3,
    "real_memory": 8000,
    "alloc_memory": 600,
    "gres": "gpu:a100:2(S:0-1),shard:8",
    "gres_used": "gpu:a100:1(IDX:1),shard:0(0/8,0/8)",
    "partitions": ["main", "long"],
    "address": "g1.cluster",
    "hostname": "g1",
}
LINE = (
    "NodeName=g1 Arch=x86_64 CoresPerSocket=1  CPUAlloc=3 CPUTot=8 CPULoad=4.87 "
    "NodeAddr=g1.cluster NodeHostName=g1 Version=24.11.5 "
    "AvailableFeatures=(null) Gres=gpu:a100:2(S:0-1),shard:8 GresDrain=N/A "
    "GresUsed=gpu:a100:1(IDX:1),shard:0(0/8,0/8) OS=Linux 6.18 #1 SMP X=y @0  RealMemory=8000 "
    "AllocMem=600 FreeMem=12994 State=IDLE+DRAIN Partitions=main,long BootTime=Unknown "
    "Reason=bad fan | x [root@2026-11-29T01:09:19]"
)
DRAINED = Node(
    "g1",
    ("IDLE", "DRAIN"),
    takes_work=False,
    reason="bad fan | x",
    reason_by="root",
    cpu=8,
    cpu_used=3,
    memory_mb=8000,
    memory_used_mb=600,
    gpu=2,
    gpu_used=1,
    gpu_indexes_used=(1,),
    gpu_name="a100",
    partitions=("main", "long"),
    address="g1.cluster",
)


def of_rest(entry: Mapping[str, object]) -> Node:
    return msgspec.convert(entry, NodeEntry).node()


def test_node_over_rest() -> None:
    assert of_rest(REST) == DRAINED


def test_node_of_scontrol() -> None:
    assert nodes.of_scontrol(f"{LINE}\n\n") == [DRAINED]


def test_node_of_which_little_is_reported() -> None:
    assert of_rest({"name": "c", "state": ["IDLE"]}) == Node("c", ("IDLE",), takes_work=True)
    assert not of_rest(REST | {"state": []}).takes_work
    bare = "NodeName=c State=DOWN* Gres=(null) Partitions= Reason=Not responding [slurm@Unknown]"
    assert nodes.of_scontrol(bare) == [
        Node("c", ("DOWN*",), takes_work=False, reason="Not responding", reason_by="slurm")
    ]
    assert nodes.of_scontrol("No nodes in the system") == []


@pytest.mark.parametrize(
    ("gres", "count", "kind", "used"),
    [
        ("", 0, "", None),
        ("(null)", 0, "", None),
        ("gpu:2", 2, "", None),
        ("gpu:0", 0, "", None),
        ("gpu", 1, "", None),
        ("gpu:h100", 1, "h100", None),
        ("gpu:a100:4(IDX:0-1,3),gpu:h100:2(IDX:4)", 6, "a100+h100", {0, 1, 3, 4}),
        ("gpu:2(IDX:N/A)", 2, "", set()),
        ("mps:100,gpu:1(S:0,1)", 1, "", None),
        ("gpu:999999999999(IDX:0-999999999999)", 256, "", set()),
        ("gpu:x:y:z(IDX:-,a-b,3-1)", 1, "x+y+z", set()),
    ],
)
def test_gres(gres: str, count: int, kind: str, used: set[int] | None) -> None:
    assert nodes._gpus(gres) == (count, kind, None if used is None else frozenset(used))


async def test_nodes_are_looked_at_again_once_somebody_asks() -> None:
    looks = 0

    async def look() -> list[Node]:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise SlurmAway("away")
        return [Node(f"g{looks}", ("IDLE",), takes_work=True)]

    answers = asyncio.Event()
    watch = NodeWatch(look, answers=answers, fresh_seconds=0.01)
    await watch.open()
    try:
        assert (watch.workers, looks) == (0, 0), "nothing answers yet"
        answers.set()
        await eventually(lambda: watch.workers == 1)
        # A failure keeps what was seen.
        await eventually(lambda: bool(watch.nodes()) and looks >= 3)
        await eventually(lambda: watch.nodes()[0].name not in ("g1", "g2"))
        seen = looks
        await asyncio.sleep(0.1)
        assert looks <= seen + 1, "nobody asks"
    finally:
        await watch.close()


@pytest.mark.parametrize("address", ["", "a b", "g1\n", "-oProxy=x/y", "\u0661", "x" * 256, "a\0"])
def test_address_that_is_none_is_left_out(address: str) -> None:
    assert of_rest(REST | {"address": address}).address == ""


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1", "fe80::1%eth0", "g1.example.org"])
def test_addresses_of_nodes(address: str) -> None:
    assert of_rest(REST | {"address": address}).address == address


async def test_address_of_a_new_node_is_looked_for_at_once() -> None:
    known: list[Node] = []

    async def look() -> list[Node]:
        return list(known)

    answers = asyncio.Event()
    answers.set()
    watch = NodeWatch(look, answers=answers, fresh_seconds=0.01)
    await watch.open()
    try:
        assert watch.address("g1") is None
        known.append(Node("g1", ("IDLE",), takes_work=True, address="10.0.0.1"))
        await eventually(lambda: watch.address("g1") == "10.0.0.1")
        assert watch.address("g1,g2") is None
    finally:
        await watch.close()


@pytest.mark.parametrize(
    ("state", "silent"),
    [
        (("DOWN", "NOT_RESPONDING"), True),
        (("DOWN*",), True),
        (("MIXED*",), True),
        (("IDLE",), False),
    ],
)
async def test_silent_node(state: tuple[str, ...], silent: bool) -> None:
    async def look() -> list[Node]:
        return [Node("g1", state, takes_work=False), Node("g2", ("DOWN",), takes_work=False)]

    answers = asyncio.Event()
    answers.set()
    watch = NodeWatch(look, answers=answers)
    await watch.open()
    try:
        assert watch.is_silent("g1") is silent
        assert not watch.is_silent("")
    finally:
        await watch.close()
