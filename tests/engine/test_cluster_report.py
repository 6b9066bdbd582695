"""The report of a cluster's nodes and GPUs to clients."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict

from fetchml.api.message_fields import GPUS
from fetchml.attempts.hosts import ClusterHost
from fetchml.core.gpus.health import GpuReading
from fetchml.core.model import Status, Task
from fetchml.engine.gpus.cluster_report import cluster_report, node_readings
from fetchml.engine.gpus.report import GpuReport
from fetchml.ports.cluster import Node, NodeReading
from tests.support.tasks import task

G1 = Node(
    "g1",
    ("MIXED",),
    takes_work=True,
    cpu=8,
    cpu_used=5,
    memory_mb=8000,
    memory_used_mb=600,
    gpu=3,
    gpu_used=2,
    gpu_name="a100",
    partitions=("main",),
)
DRAINED = Node(
    "g2",
    ("IDLE", "DRAIN"),
    takes_work=False,
    reason="bad fan",
    reason_by="root",
    gpu=1,
    gpu_indexes_used=(),
)
DOWN = Node("g3", ("DOWN*",), takes_work=False, reason="Not responding", gpu=1)


def running(task_id: str, node: str, *gpus: str, user: str = "alice") -> Task:
    return task(task_id, user=user, status=Status.RUNNING, worker_id=node, gpu_uuids=gpus)


class Measured:
    """A cluster whose tasks report what they like of any GPU."""

    def gpu_readings(
        self, attempts: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], NodeReading]:
        found = [GpuReading(uuid, used_mb=number) for number, uuid in enumerate(("g1:0", "g1:1"))]
        return dict.fromkeys(attempts, NodeReading("1", found))


def test_readings_are_believed_of_a_tasks_own_gpus() -> None:
    tasks = [
        running("a", "g1", "g1:0"),
        running("b", "g1", "g1:2"),
        task("c", status=Status.PREPARING, worker_id="g1", gpu_uuids=("g1:1",)),
    ]
    cluster: Any = Measured()
    readings = node_readings(ClusterHost(cluster), tasks)
    assert {uuid: each.used_mb for uuid, each in readings.items()} == {"g1:0": 0}
    found = cluster_report([G1], tasks, lambda _: True, readings)
    assert [each.reading and each.reading.uuid for each in found.gpus] == ["g1:0", None, None]


def report(*nodes: Node, held: tuple[Task, ...] = (), sees: str | None = None) -> GpuReport:
    """`sees`: the only user whose tasks the caller may see."""
    return cluster_report(nodes, held, lambda task: sees in (None, task.user))


def gpus(found: GpuReport) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.gpu.uuid, each.condition, each.held_by) for each in found.gpus]


def test_gpus_are_held_by_tasks_used_by_others_or_free() -> None:
    found = report(G1, held=(running("t", "g1", "g1:1"),))
    assert gpus(found) == [
        ("g1:0", "busy", ()),
        ("g1:1", "held", ("t",)),
        ("g1:2", "free", ()),
    ]
    assert [status.task_ids for status in found.nodes] == [("t",)]


def test_numbers_that_the_cluster_reports_are_believed() -> None:
    node = Node("g1", ("MIXED",), takes_work=True, gpu=2, gpu_used=1, gpu_indexes_used=(1,))
    assert [state for _, state, _ in gpus(report(node))] == ["free", "busy"]


def test_node_without_work_shows_its_reason() -> None:
    first, second = report(DRAINED, DOWN).gpus
    assert (first.condition, first.reason, first.drained_by) == (
        "drained",
        "node g2 is idle+drain: bad fan",
        "root",
    )
    assert (second.condition, second.drained_by) == ("unknown", None)
    assert second.reason == "node g3 is down*: Not responding"


def test_task_claims_only_gpus_of_its_own_node() -> None:
    """The record of the node's GPUs can be forged by the task."""
    found = report(G1, DRAINED, held=(running("t", "g2", "g1:0", "g9:9"),))
    assert not any("t" in each.held_by for each in found.gpus)
    assert found.nodes[1].task_ids == ("t",)


def test_tasks_of_others_are_left_out_of_a_private_server() -> None:
    held = (running("mine", "g1", "g1:0"), running("theirs", "g1", "g1:1", user="bob"))
    found = report(G1, held=held, sees="alice")
    assert gpus(found)[:2] == [("g1:0", "held", ("mine",)), ("g1:1", "held", ())]
    assert found.nodes[0].task_ids == ("mine",)
    assert "theirs" not in str(GPUS.json(found))


def test_ended_process_holds_no_gpu() -> None:
    ended = task("t", status=Status.COLLECTING, worker_id="g1", gpu_uuids=("g1:0",))
    assert report(G1, held=(ended,)).nodes[0].task_ids == ()


def test_both_transports_show_the_same() -> None:
    found = report(G1, DRAINED, held=(running("t", "g1", "g1:1"),))
    message = MessageToDict(GPUS.message(found), preserving_proto_field_name=True)
    assert json.loads(json.dumps(GPUS.json(found))) == message
    node = message["nodes"][1]
    assert (node["name"], node["state"], node["takes_work"]) == ("g2", "idle+drain", False)
    assert (node["reason"], node["reason_by"]) == ("bad fan", "root")
    assert message["gpus"][0]["node"] == "g1"
