"""Quotas of users: GPUs, running tasks, waiting tasks and memory."""

from sys import getsizeof

import msgspec
import pytest
from msgspec.structs import replace

from fetchml.core.events import CancelRequested, StopAttempt
from fetchml.core.footprint import spec_footprint
from fetchml.core.model import (
    DatasetSpec,
    Dependency,
    Environment,
    NotifyTarget,
    Rerun,
    SecretUse,
    SweepMember,
    TaskSpec,
    User,
)
from fetchml.core.submit_quotas import queue_fault
from tests.core.host import RESERVE_MS, Host, task


def test_task_over_its_gpu_quota_has_no_backfill_reservation() -> None:
    host = Host(gpus=2, user_gpus=1)
    host.submit(task("a"), task("b"))
    host.now += 2 * RESERVE_MS
    assert host.submit(task("bob", user="bob", at=host.now)) == ["bob"]


def test_quota_of_waiting_tasks() -> None:
    host = Host(gpus=0, user_queued=2)
    host.submit(task("a"))
    one = spec_footprint(task("more").spec)
    assert queue_fault(host.state, "alice", [one]) is None
    assert queue_fault(host.state, "alice", [one, one]) == (
        "limit of 2 waiting tasks reached (alice has 1): submit when some have started"
    )
    assert queue_fault(host.state, "bob", [one, one]) is None


def test_quota_of_memory_of_live_tasks() -> None:
    host = Host(gpus=1, user_queued_bytes=8192)
    large = task("large", args="x" * 5000)
    size = spec_footprint(large.spec)
    assert queue_fault(host.state, "alice", [size]) is None
    host.submit(large)
    fault = queue_fault(host.state, "alice", [size])
    assert fault is not None
    assert "0.0 MiB allowed): submit when some have ended" in fault
    assert queue_fault(host.state, "bob", [size]) is None
    host.end("large")
    assert queue_fault(host.state, "alice", [size]) is None


def test_task_over_its_running_quota_has_no_backfill_reservation() -> None:
    host = Host(gpus=2, user_running=1)
    host.submit(task("a"), task("b"))
    host.now += 2 * RESERVE_MS
    assert host.submit(task("bob", user="bob", at=host.now)) == ["bob"]


@pytest.mark.parametrize("quota", ["user_running", "user_gpus"])
def test_no_task_is_preempted_for_one_over_its_quota(quota: str) -> None:
    """The first of alice's tasks gets what one victim leaves; for the second no other makes way."""
    host = Host(gpus=2, preemption=True, **{quota: 1})
    host.submit(task("one", user="bob", preemptible=True))
    host.submit(task("two", user="carl", preemptible=True))
    host.submit(task("a", priority=6), task("b", priority=6))
    assert len(host.of(StopAttempt)) == 1


TEXT = "x" * 10_000
LARGE: dict[str, object] = {
    "job_name": TEXT,
    "image": TEXT,
    "command": (TEXT,),
    "args": TEXT,
    "snapshot_id": TEXT,
    "datasets": (TEXT,),
    "dataset_specs": (DatasetSpec("a", TEXT),),
    "metadata": {"a": TEXT},
    "env": {"a": TEXT},
    "experiment_id": TEXT,
    "checkpoint_from": TEXT,
    "volumes": (TEXT,),
    "after": (Dependency(TEXT),),
    "inputs_from": (TEXT,),
    "slurm": {"a": TEXT},
    "environment": Environment(script=TEXT),
    "secrets": (SecretUse(TEXT),),
    "notify": (NotifyTarget(TEXT),),
    "sweep": SweepMember("a", 0, {"a": TEXT}),
    "rerun": Rerun("a", {"a": TEXT}),
}
SMALL = {
    "priority", "cpu", "memory_gb", "gpu", "timeout_seconds", "max_retries", "preemptible",
    "checkpoint", "warn_seconds", "start_after", "hold", "may_idle",
}  # fmt: skip


def test_footprint_counts_every_field_that_holds_text() -> None:
    assert LARGE.keys() | SMALL == set(TaskSpec.__struct_fields__)
    plain = TaskSpec("a", "a", ("a",))
    for name, value in LARGE.items():
        assert spec_footprint(replace(plain, **{name: value})) > len(TEXT), name


@pytest.mark.parametrize("character", ["x", "é", "€", "\U0001f600"])
def test_footprint_stays_as_it_is_when_texts_are_encoded(character: str) -> None:
    """Python keeps the UTF-8 of a string, so that its memory grows then."""
    host = Host(gpus=0)
    given = task("a", args=character * 5000, metadata={character: character * 100})
    size = spec_footprint(given.spec)
    host.submit(given)
    assert host.state.live_bytes == size
    msgspec.json.encode(given.spec)
    assert given.spec.args is not None
    assert size > getsizeof(given.spec.args), "with its UTF-8"
    host.restart()
    assert host.state.live_bytes == size
    host.do(CancelRequested(host.now, "a", User("alice")))
    assert (host.state.live_bytes, host.state.user_bytes) == (0, {})
