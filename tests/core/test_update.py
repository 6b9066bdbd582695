"""What may be changed of a task, and what a task that is submitted again asks for."""

from typing import Any

import pytest

from fetchml.core import submit_quotas
from fetchml.core.events import LauncherChanged, Submitted, UpdateRequested
from fetchml.core.model import Cancel, DatasetSpec, Principal, Resources, Role, Status
from fetchml.core.reactor import step
from fetchml.core.requests import rerun, submission
from fetchml.core.requests.submission import Defaults, TaskLimits
from fetchml.core.requests.update import InvalidUpdate, TaskUpdate, apply, read
from fetchml.core.state import Limits, State
from tests.support.accepting import accept
from tests.support.invariants import check
from tests.support.project_files import project_of
from tests.support.tasks import task


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({}, "body"),
        ({"job_name": "other"}, "body"),
        ({"hold": "yes"}, "hold"),
        ({"start_after": 5}, "start_after"),
        ({"start_after": "tomorrow"}, "start_after"),
        ({"start_after": "1969-12-31T23:59:59Z"}, "start_after"),
        ({"notify": [{"url": "ftp://a.example"}]}, "notify"),
        ({"priority": 0}, "priority"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"a\n": "x"}}, "metadata"),
        ({"metadata": {"a": "\0"}}, "metadata"),
        ({"metadata": {"a": "x" * (1 << 16)}}, "metadata"),
        ({"metadata": {str(n): "x" for n in range(1001)}}, "metadata"),
    ],
)
def test_broken_rule_is_named(request_: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidUpdate) as error:
        read(request_)
    assert [violation.field for violation in error.value.violations] == [field]


def test_labels_are_merged_and_removed() -> None:
    before = task(metadata={"a": "1", "b": "2", "empty": ""})
    after = apply(before, read({"metadata": {"a": None, "b": "3", "c": "4", "gone": ""}})).task
    assert after is not None
    assert after.spec.metadata == {"b": "3", "c": "4", "empty": ""}
    removed = apply(before, read({"metadata": {"a": "", "b": "", "empty": None}})).task
    assert removed is not None
    assert removed.spec.metadata is None
    assert apply(before, read({"metadata": {"a": "1"}})).task is before


def test_labels_may_not_grow_beyond_the_limits_of_a_request() -> None:
    full = task(metadata={str(n): "x" for n in range(1000)})
    with pytest.raises(InvalidUpdate, match="1000 entries"):
        apply(full, read({"metadata": {"one more": "x"}}))
    assert apply(full, read({"metadata": {"one more": "x", "1": None}})).task is not None
    large = task(env={"A": "x" * 200_000})
    with pytest.raises(InvalidUpdate, match="must be shorter"):
        apply(large, read({"metadata": {"a": "é" * 32_000}}))


@pytest.mark.parametrize("status", Status)
def test_only_a_waiting_tasks_priority_changes(status: Status) -> None:
    changed, conflict = apply(task(status=status), TaskUpdate(priority=9))
    assert (changed is not None) == (status is Status.QUEUED)
    assert (conflict is None) == (status is Status.QUEUED)
    assert apply(task(status=status), TaskUpdate(priority=5)).conflict is None, "it is that already"
    assert apply(task(status=status), TaskUpdate(metadata={"a": "b"})).conflict is None
    prestaged = task(status=Status.PREPARING, prestaged=True)
    assert apply(prestaged, TaskUpdate(priority=9)).conflict is None
    ending = task(status=Status.PREPARING, prestaged=True, cancel=Cancel("alice", 1))
    assert apply(ending, TaskUpdate(priority=9)).conflict is not None


def state_of(**limits: Any) -> State:
    return State(Limits(Resources(4, 8, 1), 1, 600_000, "host", **limits))


def test_changed_priority_moves_a_task_in_the_queue() -> None:
    state = state_of()
    tasks = [task(name, created_at=at) for at, name in enumerate("abc")]
    step(state, Submitted(5, tasks))
    decision = step(state, UpdateRequested(6, "c", TaskUpdate(priority=9)))
    assert [(each.id, each.spec.priority) for each in decision.changes] == [("c", 9)]
    step(state, UpdateRequested(6, "a", TaskUpdate(priority=1, metadata={"why": "later"})))
    assert [entry.task_id for _, entry in state.queue.entries()] == ["c", "b", "a"]
    assert state.tasks["a"].spec.metadata == {"why": "later"}
    check(state)
    started = step(state, LauncherChanged(7, available=True)).changes
    assert [each.id for each in started] == ["c"]
    late = step(state, UpdateRequested(8, "c", TaskUpdate(priority=2)))
    assert late.changes == [], "it does not wait any more"
    assert step(state, UpdateRequested(8, "none", TaskUpdate(priority=2))).changes == []
    check(state)


def test_delayed_task_keeps_its_delay_and_changes_its_place() -> None:
    state = state_of()
    first, second = task("a", not_before=100), task("b", created_at=2)
    step(state, Submitted(5, [first, second]))
    step(state, UpdateRequested(6, "a", TaskUpdate(priority=9)))
    assert [entry.task_id for _, entry in state.queue.entries()] == ["b"]
    state.queue.due(101)
    assert [entry.task_id for _, entry in state.queue.entries()] == ["a", "b"]
    assert state.queue.next_due() is None
    check(state)


def test_labels_count_as_memory_of_the_user() -> None:
    state = state_of(user_queued_bytes=8_000)
    before = task("a")
    step(state, Submitted(5, [before]))
    small = apply(before, TaskUpdate(metadata={"a": "b"})).task
    large = apply(before, TaskUpdate(metadata={"a": "x" * 9_000})).task
    assert small is not None
    assert large is not None
    assert submit_quotas.growth_fault(state, before, small) is None
    assert submit_quotas.growth_fault(state, before, large) is not None
    assert submit_quotas.growth_fault(state, large, before) is None
    step(state, UpdateRequested(6, "a", TaskUpdate(metadata={"a": "x" * 100})))
    check(state)


DEFAULTS = Defaults("default:1", ("run",), TaskLimits(timeout_seconds=60), 3)
HOST = Resources(4, 8, 1)
PROJECT = "max_retries = 9\npreemptible = true"


def test_task_that_is_submitted_again_is_the_same() -> None:
    """Also where the request gave a field a value of its type's own default."""
    requests: list[dict[str, object]] = [
        {"job_name": "a"},
        {"job_name": "a", "max_retries": 0, "timeout_seconds": 0, "cpu": 0, "args": ""},
        {
            "job_name": "a",
            "priority": 9,
            "datasets": ["x"],
            "dataset_specs": [{"name": "d", "mount_path": "/data/d"}],
            "env": {"SECRET": "s"},
            "metadata": {"a": "b", "c": ""},
            "command": ["sh", "-c", ""],
            "preemptible": True,
            "checkpoint_from": "t",
            "warn_seconds": 5,
            "volumes": ["scratch"],
            "secrets": [{"name": "TOKEN"}, {"name": "KEY", "as": "file"}],
            "notify": [
                {"url": "https://example.com/a"},
                {"url": "http://b.example", "on": ["idle"]},
            ],
        },
        {"job_name": "a", "environment": {}},
        {"job_name": "a", "environment": {"project": "."}, "snapshot_id": "s"},
    ]
    for request in requests:
        once = accept(request, DEFAULTS, HOST)
        twice = accept(rerun.request_of(task(spec=once)), DEFAULTS, HOST, project_of(PROJECT))
        assert twice == once


def test_default_image_may_be_named_whatever_is_allowed() -> None:
    once = accept({"job_name": "a"}, DEFAULTS, HOST, allow_images=("other",))
    assert once.image == "default:1"
    request = rerun.request_of(task(spec=once))
    assert accept(request, DEFAULTS, HOST, allow_images=("other",)) == once
    with pytest.raises(submission.InvalidSubmission, match="image"):
        accept({**request, "image": "third"}, DEFAULTS, HOST, allow_images=("other",))


def test_request_holds_no_tuples_and_no_empty_fields() -> None:
    dataset = DatasetSpec(name="d")
    request = rerun.request_of(task(datasets=("a",), dataset_specs=(dataset,)))
    assert request["datasets"] == ["a"]
    assert request["dataset_specs"] == [{"name": "d"}]
    assert request["command"] == ["run"]
    assert "snapshot_id" not in request
    assert None not in request.values()


def test_new_task_belongs_to_the_same_user() -> None:
    admin = Principal("root", Role.ADMIN, "key-1", "10.0.0.1")
    owner = rerun.submitter(admin, task(user="ada"))
    assert (owner.user, owner.role) == ("ada", Role.USER)
    assert owner.sender == admin.sender
