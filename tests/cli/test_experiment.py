"""`fetchml experiment` against a real server."""

import pytest

from fetchml.cli.experiment import arguments
from fetchml.v1.task_pb2 import Task
from tests.cli.test_commands import rest, submit
from tests.support.cli_server import Server

TRAIN = 'echo "{\\"loss\\": $1, \\"epoch\\": 3}" > $FETCHML_OUTPUTS/metrics.json; exit $2'


def test_experiment_from_create_to_rm(server: Server) -> None:
    made = server.run("experiment", "create", "rates", "-d", "what is best").succeeded()
    assert server.json("experiment", "show", made) == rest(
        server, f"/v1/experiments/{made}?view=full"
    )
    listed = server.json("experiment", "ls")["experiments"]
    assert listed == rest(server, "/v1/experiments?view=full")
    assert made in server.run("experiment", "ls").succeeded()
    submit(server, "--experiment", made, "--hold", "--", "true")
    shown = server.run("experiment", "show", made).succeeded()
    assert "what is best" in shown
    assert [line.split() for line in shown.splitlines()[-2:]] == [["tasks", "1"], ["queued", "1"]]
    archived = server.run("experiment", "archive", made).succeeded()
    assert archived == f"{made} is archived"
    refused = server.run("submit", "--experiment", made, "--", "true").failed(2)
    assert "experiment_id: experiment not found, or archived" in refused
    assert server.run("experiment", "rm", made).succeeded() == f"{made} is removed"
    for command in ("show", "archive", "rm", "compare"):
        assert f"Experiment {made!r} not found" in server.run("experiment", command, made).failed(5)
    assert server.run("experiment", "create", "").code == 2


def test_compare(server: Server) -> None:
    made = server.json("experiment", "create", "compared")["id"]
    tasks = [
        submit(server, "--experiment", made, "--", "sh", "-c", TRAIN, "train", loss, code)
        for loss, code in (("0.5", "0"), ("0.125", "3"), ("bad", "0"))
    ]
    for task_id in tasks:
        server.run("watch", task_id).succeeded()
    waits = submit(server, "--experiment", made, "--", "sleep", "60")
    rows = server.json("experiment", "compare", made)["tasks"]
    assert [row["id"] for row in rows] == [waits, *reversed(tasks)]
    assert [row["metrics"] for row in rows] == [
        {},
        {},
        {"loss": 0.125, "epoch": 3},
        {"loss": 0.5, "epoch": 3},
    ]
    assert [row["outputs"] for row in rows] == [0, 1, 1, 1]
    assert rows[2]["exit_code"] == 3
    assert 0 <= rows[2]["duration_seconds"] < 30
    best_first = server.json("experiment", "compare", made, "--sort", "loss")["tasks"]
    assert [row["id"] for row in best_first] == [tasks[1], tasks[0], waits, tasks[2]]
    worst_first = server.run(
        "experiment", "compare", made, "--sort", "loss", "--descending"
    ).succeeded()
    head, first, *_ = worst_first.splitlines()
    assert head.split() == ["ID", "ARGS", "STATUS", "RAN", "loss", "epoch", "OUTPUTS", "NOTE"]
    assert first.startswith(tasks[0])
    assert "completed" in first
    newest = server.run("experiment", "compare", made, "--limit", "1")
    assert waits in newest.succeeded()
    assert "3 older tasks not shown: raise --limit" in newest.err
    unknown = server.run("experiment", "compare", made, "--sort", "f1").failed(2)
    assert "Known metrics: loss, epoch" in unknown
    server.run("cancel", waits).succeeded()


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([(["python", "train.py"], "--lr 0.1"), (["python", "train.py"], "--lr 0.2")],
         ["--lr 0.1", "--lr 0.2"]),
        ([(["python", "a.py", "1"], ""), (["python", "b.py", "1"], "")], ["a.py 1", "b.py 1"]),
        ([(["python", "a.py"], ""), (["python", "a.py"], "'x y'")], ["", "'x y'"]),
        ([(["python", "a.py"], "1")], ["python a.py 1"]),
        ([], []),
    ],
)  # fmt: skip
def test_arguments_leave_out_the_shared_program(
    lines: list[tuple[list[str], str]], shown: list[str]
) -> None:
    assert arguments([Task(command=command, args=args) for command, args in lines]) == shown
