"""The rules of Jupyter services: requests, workspaces, status and words."""

from typing import Any

import pytest

from fetchml.core import jupyter
from fetchml.core.jupyter import Service, ServiceStatus
from fetchml.core.model import Cancel, FailureReason, Resources, Status, Task
from fetchml.core.requests.submission import TaskLimits
from tests.support import tasks

BOX = Resources(cpu=4, memory_gb=8, gpu=1)
RECORD = Service("id", "ada", "n", "i", "w", "w", "secret", 1)
WISH = Cancel("ada", 5)


def task(status: Status, **fields: Any) -> Task:
    return tasks.task("id", user="ada", status=status, service=True, **fields)


def broken(**request: object) -> list[str]:
    return [f"{v.field} {v.rule}" for v in jupyter.read(request, BOX, TaskLimits())[1]]


def test_shortest_and_longest_valid_request() -> None:
    assert broken(name="a") == []
    assert (
        broken(name="ä b/c", workspace="a/b c/ü", image="x:1", cpu=4, memory_gb=8, gpu=1, more=None)
        == []
    ), "what has no meaning is ignored"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "name is required"),
        ({"name": None}, "name must not be null: leave it out"),
        ({"name": "a" * 129}, "name must not be longer than 128 characters"),
        ({"name": "a", "workspace": ""}, "workspace must not be empty"),
        (
            {"name": "a", "workspace": "/a"},
            "workspace must be a path below the server's own folder: it is an absolute path",
        ),
        ({"name": "a", "workspace": "a\x1b[2J"}, "workspace must be printable"),
        ({"name": "a", "image": "a\nb"}, "image must be an image name without spaces"),
        ({"name": "a", "cpu": True}, "cpu must be an integer"),
        ({"name": "a", "gpu": 2}, "gpu requests 2, but this host has 1"),
    ],
)
def test_broken_rule_is_named(request_: dict[str, object], said: str) -> None:
    assert broken(**request_) == [said]


@pytest.mark.parametrize(
    ("name", "workspace"),
    [("notes", "notes"), ("my notes", "my notes"), ("a/b", "ID"), ("..", "ID"), ("a\nb", "ID")],
)
def test_default_workspace_is_the_name_if_valid(name: str, workspace: str) -> None:
    assert jupyter.default_workspace(name, "ID") == workspace


@pytest.mark.parametrize(
    ("folder", "known", "fits"),
    [
        ("a", ["a"], True),
        ("a", ["ab", "b/a"], True),
        ("a/b", ["a"], False),
        ("a", ["a/b"], False),
        ("a/b/c", ["a"], False),
        ("a/c", ["a/b"], True),
        ("../a", [], False),
        ("./a", [], False),
    ],
)
def test_workspaces_do_not_nest(folder: str, known: list[str], fits: bool) -> None:
    assert (jupyter.folder_fault(folder, known) is None) == fits


@pytest.mark.parametrize(
    ("version", "answers", "status"),
    [
        (task(Status.QUEUED), False, ServiceStatus.STARTING),
        (task(Status.PREPARING), False, ServiceStatus.STARTING),
        (task(Status.RUNNING), False, ServiceStatus.STARTING),
        (task(Status.RUNNING), True, ServiceStatus.RUNNING),
        (task(Status.PREPARING, cancel=WISH), False, ServiceStatus.STOPPING),
        (task(Status.RUNNING, cancel=WISH), True, ServiceStatus.STOPPING),
        (task(Status.COLLECTING, cancel=WISH), False, ServiceStatus.STOPPING),
        (task(Status.COLLECTING), False, ServiceStatus.ERROR),
        (task(Status.COMPLETED), False, ServiceStatus.ERROR),
        (task(Status.FAILED), False, ServiceStatus.ERROR),
        (task(Status.FAILED, cancel=WISH), False, ServiceStatus.STOPPED),
        (task(Status.COMPLETED, cancel=WISH), False, ServiceStatus.STOPPED),
    ],
)
def test_status_of_a_service(version: Task, answers: bool, status: ServiceStatus) -> None:
    assert jupyter.status_of(version, answers=answers) is status


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (task(Status.QUEUED), "It waits."),
        (task(Status.RUNNING), "Jupyter runs and does not respond yet."),
        (task(Status.FAILED, cancel=WISH), "stopped by ada"),
        (task(Status.FAILED, cancel=Cancel("idle for 4 h", 5)), "idle for 4 h"),
        (
            task(Status.FAILED, failure_reason=FailureReason.LOST, error="it vanished"),
            "it vanished",
        ),
        (task(Status.COMPLETED, exit_code=0), "Jupyter ended by itself with exit code 0"),
        (
            task(
                Status.FAILED,
                failure_reason=FailureReason.EXIT_CODE,
                error="exit code 3",
                exit_code=3,
            ),
            "Jupyter ended by itself with exit code 3",
        ),
        (task(Status.COLLECTING), "Jupyter has ended"),
    ],
)
def test_reason_of_a_service_status(version: Task, reason: str) -> None:
    status = jupyter.status_of(version, answers=False)
    assert jupyter.reason_of(version, status, "It waits.") == reason


@pytest.mark.parametrize("answers", [True, False])
def test_service_whose_node_is_silent_shows_that(answers: bool) -> None:
    version = task(Status.RUNNING)
    status = jupyter.status_of(version, answers=answers)
    assert jupyter.reason_of(version, status, "", is_silent=True) == jupyter.SILENT


def test_stopped_service_shows_who_stopped_it_though_its_node_is_silent() -> None:
    version = task(Status.RUNNING, cancel=WISH)
    status = jupyter.status_of(version, answers=True)
    assert jupyter.reason_of(version, status, "", is_silent=True) == "stopped by ada"


def test_command_on_a_node_is_the_same_behind_its_relay() -> None:
    here = jupyter.process_spec(RECORD, ["jupyter-lab"], "/bin")
    there = jupyter.process_spec(RECORD, ["jupyter-lab"], "/bin", relay_ports="5000-5009")
    assert here.command is not None
    assert there.command is not None
    assert (there.command[:4], there.command[-10:]) == (here.command[:4], here.command[-10:])
    assert "FETCHML_JUPYTER_RELAY" in there.command[6]
    in_container = jupyter.task_spec(RECORD, "real")
    assert in_container.command is not None
    command = jupyter.on_node(in_container, "5000-5009").command
    assert command is not None
    assert command[4:] == ("5000-5009", *in_container.command)
    assert "FETCHML_JUPYTER_RELAY" in command[2]


def test_running_service_has_no_reason() -> None:
    assert jupyter.reason_of(task(Status.RUNNING), ServiceStatus.RUNNING, "") is None


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", ""),
        ("one\ntwo\n\n  \n", "two"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("the token is secret", "the token is …"),
        ("a" * 201, ""),
        ("bell \x07", ""),
    ],
)
def test_last_line_of_a_log(log: str, said: str) -> None:
    assert jupyter.last_words(log, "secret") == said


def test_last_line_is_shown_only_if_the_service_ended_by_itself() -> None:
    record = Service("id", "ada", "n", "i", "w", "w", "secret", 1, last_words="said")
    by_itself = task(Status.FAILED, failure_reason=FailureReason.EXIT_CODE)
    killed = task(Status.FAILED, failure_reason=FailureReason.SIGNAL)
    assert jupyter.with_last_line("why", by_itself, record) == "why: said"
    assert jupyter.with_last_line("why", by_itself, RECORD) == "why"
    assert jupyter.with_last_line("why", killed, record) == "why"


def test_command_of_a_service() -> None:
    spec = jupyter.task_spec(RECORD, "real")
    assert spec.command[:2] == ("jupyter", "lab")
    assert "--ServerApp.base_url=/jupyter/id/" in spec.command
    assert f"--ServerApp.sock={jupyter.SOCKET}" in spec.command
    assert not any("secret" in word for word in spec.command), "others may see the command line"
    assert spec.env is not None
    assert "secret" not in spec.env.values(), "a task's specification is stored"
    assert not spec.env["JUPYTER_RUNTIME_DIR"].startswith(jupyter.WORKSPACE)
