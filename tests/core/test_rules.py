"""The rules that are tables: verdicts, deletion, access, and what a request may be."""

import pytest

from fetchml.core import environments as environment
from fetchml.core import permissions
from fetchml.core.lifecycle import InvalidTransition, require
from fetchml.core.model import (
    AttemptEnd,
    Cancel,
    FailureReason,
    Principal,
    Resources,
    Role,
    Status,
    TaskSpec,
)
from fetchml.core.requests.submission import KNOWN_FIELDS, Defaults, InvalidSubmission, TaskLimits
from fetchml.core.task_deletion import REPEAT_MS, Deletion, meaning
from fetchml.core.verdict import STOPPED, judge
from tests.support import tasks
from tests.support.accepting import accept
from tests.support.project_files import project_of

SPEC = TaskSpec("job", "image", ("run",), timeout_seconds=5, memory_gb=2)
DEFAULTS = Defaults("python:3.12-slim", ("python", "train.py"), TaskLimits(), 2)
CAPACITY = Resources(cpu=4, memory_gb=16, gpu=1)


@pytest.mark.parametrize(
    ("end", "reason", "error", "exit_code"),
    [
        ({"code": 0}, None, None, 0),
        ({"code": 3}, FailureReason.EXIT_CODE, "exit code 3", 3),
        ({"signal": 15}, FailureReason.SIGNAL, "ended by SIGTERM", 143),
        ({"signal": 63}, FailureReason.SIGNAL, "ended by signal 63", 191),
        (
            {"signal": 9, "out_of_memory": True},
            FailureReason.OUT_OF_MEMORY,
            "used more than its 2 GiB of memory",
            137,
        ),
        # A child was killed for memory, and the task saw to it by itself.
        ({"code": 0, "out_of_memory": True}, None, None, 0),
        ({"code": 3, "out_of_memory": True}, FailureReason.EXIT_CODE, "exit code 3", 3),
        (
            {"signal": 9, "timed_out": True},
            FailureReason.TIMEOUT,
            "timed out after 5 s",
            137,
        ),
        # Its handler of SIGTERM ended it with 0, and the limit was passed all the same.
        (
            {"code": 0, "timed_out": True},
            FailureReason.TIMEOUT,
            "timed out after 5 s",
            0,
        ),
        # It saved its state when the engine was shut down, and has not finished all the same.
        ({"code": 0, "stopped": True}, FailureReason.LOST, STOPPED, 0),
        ({"signal": 15, "stopped": True}, FailureReason.LOST, STOPPED, 143),
        ({"lost": "the engine restarted"}, FailureReason.LOST, "the engine restarted", None),
        ({"lost": "no image", "no_image": True}, FailureReason.PREPARE_FAILED, "no image", None),
        # A cluster ended it, and the shim recorded the signal.
        ({"signal": 15, "lost": "CANCELLED"}, FailureReason.LOST, "CANCELLED", 143),
        (
            {"signal": 15, "timed_out": True, "lost": "its limit"},
            FailureReason.TIMEOUT,
            "its limit",
            143,
        ),
        (
            {"out_of_memory": True, "lost": "it was killed"},
            FailureReason.OUT_OF_MEMORY,
            "used more than its 2 GiB of memory",
            None,
        ),
        (
            {"code": 127, "start_error": "not found"},
            FailureReason.START_FAILED,
            "run: not found",
            127,
        ),
    ],
)
def test_outcome_of_an_attempt(
    end: dict[str, object],
    reason: FailureReason | None,
    error: str | None,
    exit_code: int | None,
) -> None:
    how = AttemptEnd(at=1, **end)  # type: ignore[arg-type]
    assert judge(how, SPEC, None) == (reason, error, exit_code)
    assert judge(how, SPEC, Cancel("bob", 1))[:2] == (FailureReason.CANCELLED, "cancelled by bob")


@pytest.mark.parametrize(
    ("status", "cancelled_at", "now", "expected"),
    [
        (Status.QUEUED, None, 5, Deletion.CANCEL),
        (Status.RUNNING, 1, 5, Deletion.CANCEL),
        (Status.COMPLETED, None, 5, Deletion.HIDE),
        (Status.FAILED, 5, 5 + REPEAT_MS - 1, Deletion.NOTHING),
        (Status.FAILED, 5, 5 + REPEAT_MS, Deletion.HIDE),
    ],
)
def test_meaning_of_delete(
    status: Status, cancelled_at: int | None, now: int, expected: Deletion
) -> None:
    cancel = None if cancelled_at is None else Cancel("bob", cancelled_at)
    assert meaning(tasks.task(user="bob", status=status, cancel=cancel), now) is expected


@pytest.mark.parametrize(
    ("role", "owns", "submits", "ends", "sees_in_private_mode"),
    [
        (Role.VIEWER, True, False, False, True),
        (Role.VIEWER, False, False, False, False),
        (Role.USER, True, True, True, True),
        (Role.USER, False, True, False, False),
        (Role.ADMIN, True, True, True, True),
        (Role.ADMIN, False, True, True, True),
    ],
)
def test_permissions_by_role_and_ownership(
    role: Role, owns: bool, submits: bool, ends: bool, sees_in_private_mode: bool
) -> None:
    who = Principal("bob", role, "k")
    task = tasks.task(user="bob" if owns else "alice")
    assert permissions.may_submit(who) == submits
    assert permissions.may_change(who, task) == ends
    assert permissions.may_see(who, task, private=True) == sees_in_private_mode
    assert permissions.may_see(who, task, private=False)


def test_final_states_have_no_successor() -> None:
    for status in Status:
        with pytest.raises(InvalidTransition, match="task t can't go from completed to"):
            require(tasks.task(user="bob", status=Status.COMPLETED), status)


def test_shortest_request_gets_the_defaults() -> None:
    spec = accept({"job_name": "a"}, DEFAULTS, CAPACITY)
    assert spec == TaskSpec("a", "python:3.12-slim", ("python", "train.py"), max_retries=2)
    assert spec.argv == ("python", "train.py")


FULL: dict[str, object] = {
    "job_name": "mnist_A-1",
    "priority": 10,
    "args": "--lr '0.1 0.2' --name \"it's\"",
    "snapshot_id": "s",
    "datasets": ["mnist"],
    "dataset_specs": [{"name": "d", "sha256": "0" * 64, "mount_path": "/data/d", "x": 1}],
    "cpu": 1,
    "memory_gb": 16,
    "gpu": 1,
    "metadata": {"team": "vision"},
    "image": "img:1",
    "command": ["python", "-m", "t"],
    "env": {"A_1": ""},
    "timeout_seconds": 60,
    "max_retries": 0,
    "experiment_id": "e",
    "preemptible": True,
    "checkpoint": True,
    "checkpoint_from": "t",
    "warn_seconds": 30,
    "start_after": "2026-12-01T20:00:00Z",
    "hold": True,
    "may_idle": True,
    "after": ["t"],
    "inputs_from": ["t"],
    "slurm": {"partition": "gpu"},
    "environment": {"requirements": "requirements.txt"},
    "volumes": ["scratch"],
    "secrets": [{"name": "TOKEN"}, {"name": "KEY", "as": "file"}],
    "notify": [{"url": "https://example.com/hook?a=b", "on": ["failed", "idle"]}],
    "without": ["secrets"],
}
"""A valid request with every field."""


def test_full_request_is_accepted() -> None:
    assert FULL.keys() == KNOWN_FIELDS
    spec = accept(FULL, DEFAULTS, CAPACITY, slurm_allow=("partition",))
    assert spec.argv[3:] == ("--lr", "0.1 0.2", "--name", "it's")
    assert spec.resources == Resources(1, 16, 1)
    assert (spec.start_after, spec.hold) == (1_796_155_200_000, True)


@pytest.mark.parametrize("name", sorted(FULL.keys() - {"job_name", "without"}))
def test_each_field_alone_is_kept(name: str) -> None:
    without = {"job_name": "a"} | ({"snapshot_id": "s"} if name == "environment" else {})
    spec = accept({**without, name: FULL[name]}, DEFAULTS, CAPACITY, slurm_allow=("partition",))
    assert spec != accept(without, DEFAULTS, CAPACITY)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("preemptible", 1, "must be true or false"),
        ("checkpoint", "yes", "must be true or false"),
        ("checkpoint_from", "", "must not be empty"),
        ("checkpoint_from", "a" * 65, "must not be longer than 64 characters"),
        ("checkpoint_from", 1, "must be a string"),
        ("volumes", "scratch", "must be a list"),
        ("volumes", ["a/b"], "item 0 must be a name of letters, digits and . _ -"),
        ("volumes", [".."], "item 0 must be a name of letters, digits and . _ -"),
        ("volumes", ["a", "a"], "must not name a volume twice"),
        ("volumes", [f"v{n}" for n in range(33)], "must not have more than 32 items"),
        ("secrets", "TOKEN", "must be a list"),
        (
            "secrets",
            ["TOKEN"],
            'item 0 must be an object, such as {"name": "HF_TOKEN", "as": "env"}',
        ),
        ("secrets", [{"as": "env"}], "item 0 must have a name"),
        ("secrets", [{"name": "a-b"}], "item 0 name must be a name of letters, digits and _"),
        ("secrets", [{"name": "A\0"}], "item 0 name must not hold a NUL character"),
        ("secrets", [{"name": "A" * 65}], "item 0 name must not be longer than 64 characters"),
        ("secrets", [{"name": "FETCHML_A"}], "item 0 name must not begin with FETCHML_"),
        ("secrets", [{"name": "A", "as": "arg"}], "item 0 as must be one of env, file"),
        ("secrets", [{"name": "A", "value": "x"}], "item 0 must not have 'value'"),
        ("secrets", [{"name": "A"}, {"name": "A", "as": "file"}], "must not name a secret twice"),
        ("secrets", [{"name": f"V{n}"} for n in range(33)], "must not have more than 32 items"),
        ("warn_seconds", -1, "must be between 0 and 600"),
        ("warn_seconds", 601, "must be between 0 and 600"),
        ("hold", "true", "must be true or false"),
        ("may_idle", 1, "must be true or false"),
        ("start_after", "tomorrow", "must be a time such as 2026-01-31T12:00:00Z"),
        ("environment", {"script": "a.py"}, environment.NO_SNAPSHOT),
        ("job_name", "abc\n", "must be letters, digits, _ and - only"),
        ("job_name", "", "must be letters, digits, _ and - only"),
        ("job_name", "a" * 65, "must not be longer than 64 characters"),
        ("job_name", None, "must not be null: leave it out"),
        ("job_name", 1, "must be a string"),
        ("priority", 0, "must be between 1 and 10"),
        ("priority", 11, "must be between 1 and 10"),
        ("priority", True, "must be an integer"),
        ("priority", 1.0, "must be an integer"),
        ("priority", 10**4000, "must be between 1 and 10"),
        ("args", "it's", "can't be split as a shell would: no closing quotation"),
        ("args", "a\\", "can't be split as a shell would: no escaped character"),
        ("args", "a\0b", "must not hold a NUL character"),
        ("cpu", -1, "must be between 0 and 2147483647"),
        ("cpu", 2**31, "must be between 0 and 2147483647"),
        ("cpu", 5, "requests 5, but this host has 4"),
        ("gpu", 2, "requests 2, but this host has 1"),
        ("datasets", "mnist", "must be a list"),
        ("datasets", ["a", 1], "item 1 must be a string"),
        ("datasets", ["../etc"], "item 0 must be letters, digits and . _ -"),
        ("dataset_specs", [1], "item 0 must be an object"),
        ("dataset_specs", [{"name": None}], "item 0 name must not be null: leave it out"),
        ("dataset_specs", [{"sha256": "x"}], "item 0 sha256 must be 64 hexadecimal digits"),
        (
            "dataset_specs",
            [{"mount_path": "/data/../etc"}],
            "item 0 mount_path must be an absolute path without . or .. parts",
        ),
        (
            "dataset_specs",
            [{"mount_path": "/usr/lib"}],
            "item 0 mount_path must not lie over a system path",
        ),
        ("metadata", {"a": 1}, "a must be a string"),
        ("metadata", [], "must be an object of strings"),
        ("image", "a b", "must be an image name without spaces"),
        ("image", "", "must not be empty"),
        ("command", [], "must not be empty"),
        ("env", {"1A": "x"}, "key '1A' must be a name of letters, digits and _"),
        ("env", {"FETCHML_X": "x"}, "key 'FETCHML_X' must not begin with FETCHML_"),
        ("timeout_seconds", -1, "must be between 0 and 2147483"),
        (
            "slurm",
            {"partition": "a"},
            "is for servers that run tasks on Slurm, which this one does not: leave it out",
        ),
    ],
)
def test_broken_rule_is_named(field: str, value: object, rule: str) -> None:
    with pytest.raises(InvalidSubmission) as refused:
        accept({"job_name": "a", field: value}, DEFAULTS, CAPACITY)
    assert refused.value.violations == [(field, rule)]


def test_every_broken_rule_is_named_at_once() -> None:
    with pytest.raises(InvalidSubmission, match="job_name: is required; priority: must be"):
        accept({"priority": 99, "unknown": None}, DEFAULTS, CAPACITY)
    with pytest.raises(InvalidSubmission) as refused:
        accept({"cpu": None, "gpu": "1"}, DEFAULTS, CAPACITY)
    assert [violation.field for violation in refused.value.violations] == ["job_name", "cpu", "gpu"]


def test_total_size_of_a_request_is_bounded() -> None:
    longest = ["x" * 30_000] * 8
    accept({"job_name": "a", "command": longest}, DEFAULTS, CAPACITY)
    # Escaped, a control character takes six bytes.
    request = {"job_name": "a", "command": longest, "args": "\1" * 5_000}
    with pytest.raises(InvalidSubmission) as refused:
        accept(request, DEFAULTS, CAPACITY)
    rule = "must be shorter: the request must not exceed 262144 bytes in all"
    assert refused.value.violations == [("command", rule)]


def test_warning_must_come_after_the_start() -> None:
    request = {"job_name": "a", "timeout_seconds": 30, "warn_seconds": 30}
    with pytest.raises(InvalidSubmission, match="less than timeout_seconds, which is 30"):
        accept(request, DEFAULTS, CAPACITY)
    assert accept({**request, "warn_seconds": 29}, DEFAULTS, CAPACITY).warn_seconds == 29
    # Without a time limit the warning is that of a preemption or a cancel.
    assert accept({"job_name": "a", "warn_seconds": 600}, DEFAULTS, CAPACITY).warn_seconds == 600


def test_checkpoint_from_sets_checkpoint() -> None:
    assert accept({"job_name": "a", "checkpoint_from": "t"}, DEFAULTS, CAPACITY).checkpoint
    request = {"job_name": "a", "checkpoint_from": "t", "checkpoint": False}
    with pytest.raises(InvalidSubmission, match="leave out checkpoint=false"):
        accept(request, DEFAULTS, CAPACITY)


def test_project_file_may_set_checkpoint_and_warning() -> None:
    text = project_of("checkpoint = true\nwarn_seconds = 9")
    spec = accept({"job_name": "a"}, DEFAULTS, CAPACITY, text)
    assert (spec.checkpoint, spec.warn_seconds) == (True, 9)
    assert not accept({"job_name": "a", "checkpoint": False}, DEFAULTS, CAPACITY, text).checkpoint
