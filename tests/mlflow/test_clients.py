"""Unchanged MLflow clients against a server."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fetchml.files.layout import TRACKING_KEY
from fetchml.files.own_file import load_key
from fetchml.tracking.task_tokens import TaskTokens
from tests.mlflow.conftest import Client, get_json, uri
from tests.support.cli_server import Server
from tests.support.front import EDGE
from tests.support.waiting import wait_until


def check_basics(read: Any, user: str) -> None:
    assert read["experiment"] == "demo"
    assert read["status"] == "FINISHED"
    assert read["metrics"].pop("many") == "999.0"
    assert {name: float(value) for name, value in read["metrics"].items() if name != "nan"} == {
        "loss": 0.1,
        "inf": math.inf,
        "-inf": -math.inf,
        "later": 2.0,
    }
    assert read["metrics"]["nan"] == "nan"
    assert read["params"] == 92
    assert read["tags"] == {"team": "vision", "t": "u", "mlflow.runName": "first"}
    assert read["user"] == user
    assert read["parent_is_first"]
    assert read["history"] == 1_000
    assert read["losses"] == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 0.1]
    assert read["found"] == ["first"]
    assert read["newest_first"] == ["child", "first"]
    assert read["files"] == [["d.json", 12], ["files", None]]
    assert read["inside"] == ["files/inner/empty"]
    assert read["content"] == "hello"
    assert read["refused"] == "INVALID_PARAMETER_VALUE"


@pytest.mark.fronts(EDGE)
def test_the_newest_client(newest: Client, server: Server) -> None:
    key = server.admin_key
    check_basics(newest.run("basics", uri(server), MLFLOW_TRACKING_TOKEN=key), "admin")


@pytest.mark.slow
def test_an_older_client_with_a_password(older: Client, server: Server) -> None:
    user, password = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
    read = older.run("basics", uri(server), **{user: "x", password: server.admin_key})
    check_basics(read, "admin")


@pytest.mark.slow
def test_autolog_of_scikit_learn(full: Client, server: Server) -> None:
    read = full.run("autolog", uri(server), MLFLOW_TRACKING_TOKEN=server.admin_key)
    assert read["status"] == "FINISHED"
    assert "training_score" in read["metrics"]
    assert read["dataset"] == "dataset"
    assert read["outputs"]
    name, status, params = read["model"]
    assert (name, status) == ("model", "READY")
    assert params > 5
    assert "training_score" in read["model_metrics"]
    assert read["tags"] == "best"
    assert read["same"]


@pytest.mark.slow
def test_a_task_logs_with_its_token(newest: Client, server: Server) -> None:
    """Its runs belong to the task and its user, in the experiment that the script names."""
    secret = server.json("keys", "create", "ada")["secret"]
    task = json.loads(
        server.run("submit", "--json", "--", "sleep", "1000", FETCHML_API_KEY=secret).succeeded()
    )
    token = TaskTokens(load_key(server.data_dir / TRACKING_KEY)).issue(task["id"])
    read = newest.run("basics", uri(server), MLFLOW_TRACKING_TOKEN=token)
    check_basics(read, "ada")
    runs = get_json(server, f"/v1/runs?task_id={task['id']}")["runs"]
    assert {each["name"] for each in runs} == {"first", "child"}
    # The token ends with the task.
    server.run("cancel", task["id"]).succeeded()
    wait_until(lambda: server.json("show", task["id"])["status"] == "failed")
    assert "UNAUTHENTICATED" in newest.fails("basics", uri(server), MLFLOW_TRACKING_TOKEN=token)


@pytest.mark.slow
def test_an_artifact_of_1_gb_takes_no_memory(newest: Client, server: Server) -> None:
    before = highest_memory(server.pid)
    key = server.admin_key
    assert newest.run("large", uri(server), MLFLOW_TRACKING_TOKEN=key)["same"]
    assert highest_memory(server.pid) < before + 64_000


def highest_memory(pid: int) -> int:
    """Return the most resident memory that a process has had, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [each for each in status.splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1])
