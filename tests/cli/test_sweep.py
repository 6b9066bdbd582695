"""`fetchml sweep` against a real server."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf.struct_pb2 import Value

from fetchml.cli.main import fetchml
from fetchml.cli.sweep.parameters import values_of
from fetchml.client import SweepParameter
from tests.cli.test_commands import rest
from tests.support.cli_server import Server

REPORT = 'echo "{\\"loss\\": $FETCHML_PARAM_LR}" > $FETCHML_OUTPUTS/metrics.json; exit $1'


def test_sweep_from_create_to_best(server: Server) -> None:
    command = ("--", "sh", "-c", REPORT, "x", "{code}")
    options = ("-p", "lr=3,1,2", "-p", "code=0,0,7", "--mode", "zip", "--max-parallel", "2")
    made = server.run("sweep", "create", "--sweep-name", "rates", *options, *command).succeeded()
    listed = server.json("ls", "--sweep", "rates")["tasks"]
    assert [task["parameters"] for task in listed[::-1]] == [
        {"lr": "3", "code": "0"},
        {"lr": "1", "code": "0"},
        {"lr": "2", "code": "7"},
    ]
    for task in listed:
        server.run("watch", task["id"])
    shown = server.json("sweep", "show", "@last")
    assert shown == rest(server, f"/v1/sweeps/{made}")
    assert (shown["counts"]["completed"], shown["counts"]["failed"]) == (2, 1)
    assert made in server.run("sweep", "ls").succeeded()
    assert "max parallel" in server.run("sweep", "show", made[-8:]).succeeded()
    best = server.json("sweep", "best", made, "--metric", "loss")["results"]
    assert [(row["value"], row["parameters"]["lr"]) for row in best] == [(1, "1"), (3, "3")]
    table = server.run("sweep", "best", made, "--metric", "loss", "--goal", "max").succeeded()
    assert table.splitlines()[1].split()[2:] == ["3", "0", "3"]
    none = server.run("sweep", "best", made, "--metric", "f1")
    assert "Known metrics: loss" in none.err
    assert server.run("sweep", "retry", made).succeeded() == "1 task submitted again"
    assert server.run("sweep", "cancel", made).code == 0
    assert "Sweep no-such-sweep not found" in server.run("sweep", "show", "no-such-sweep").failed(5)


def test_tasks_and_sweeps_start_after_sweeps(server: Server) -> None:
    write = ("sh", "-c", "echo $1 > $FETCHML_OUTPUTS/n", "x", "{n}")
    options = ("--hold", "--name", "write", "--sweep-name", "writes", "-p", "n=1..2")
    first = server.run("sweep", "create", *options, "--", *write).succeeded()
    read = ("sh", "-c", "test $(cat $FETCHML_INPUTS/write/n) = $1", "x", "{n}")
    after = ("--after", "same-index:writes:ended", "--inputs-from", f"same-index:{first[-8:]}")
    made = server.run("sweep", "create", *after, "-p", "n=1..2", "--", *read).succeeded()
    last = server.run("submit", "--after", "sweep:@last:ended", "--", "true").succeeded()
    array = server.run(
        *("sbatch", "--array=0-1", f"--dependency=aftercorr:{first}", "--wrap=true")
    ).succeeded()
    after_array = server.run("sbatch", f"--dependency=afterany:{array}", "--wrap=true").succeeded()
    assert f"all of sweep {made} ended" in " ".join(server.run("show", last).succeeded().split())
    assert f"all tasks of sweep {array} end (2 have not ended)" in " ".join(
        server.run("show", after_array).succeeded().split()
    )
    held = sorted(task["id"] for task in server.json("ls", "--sweep", first)["tasks"])
    [_, reads] = server.json("ls", "--sweep", made)["tasks"]
    assert reads["inputs_from"] == [held[0]]
    shown = " ".join(server.run("show", reads["id"]).succeeded().split())
    assert f"{held[0]} (same index in sweep {first}) ended" in shown
    server.run("release", *held).succeeded()
    for task_id in (last, after_array):
        server.run("watch", task_id)
        assert server.json("show", task_id)["status"] == "completed"
    assert server.json("sweep", "show", made)["counts"]["completed"] == 2
    wrong = server.run("submit", "--inputs-from", "sweep:writes", "--", "true").failed(2)
    assert "the outputs of a whole sweep can't be inputs" in wrong


def test_dry_run_shows_count_and_the_first_five(server: Server, tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("lr,name\n" + "".join(f"0.{n}0,a b {n}\n" for n in range(8)))
    before = rest(server, "/v1/tasks?limit=0")["total"]
    shown = server.run(
        *("sweep", "create", "--table", str(table), "--dry-run", "--", "echo", "{lr}", "{name}")
    ).succeeded()
    assert "echo 0.40 'a b 4'" in shown
    assert "0.50" not in shown
    assert shown.endswith("8 tasks; 3 are not shown")
    assert rest(server, "/v1/tasks?limit=0")["total"] == before
    wrong = server.run("sweep", "create", "-p", "lr=1", "--dry-run", "--", "echo", "{lrr}")
    assert wrong.code == 2
    assert "has the placeholder {lrr}, but the parameters are lr" in wrong.err
    assert server.run("sweep", "create", "--", "true").code == 2
    assert server.run("sweep", "create", "-p", "lr", "--", "true").code == 2


def dry_run(server: Server, *options: str) -> dict[str, Any]:
    command = ("sweep", "create", "--dry-run", "--json", *options, "--", "true")
    found: dict[str, Any] = json.loads(server.run(*command).succeeded())
    return found


def test_files_describe_a_sweep(server: Server, tmp_path: Path) -> None:
    toml = tmp_path / "sweep.toml"
    toml.write_text(
        'name = "from a file"\nmax_parallel = 2\n[task]\njob_name = "train"\n'
        'command = ["echo", "{lr}"]\n[parameters]\nlr = [0.1, 2]\n'
        'seed = "1..3"\n'
    )
    sweep = server.json("sweep", "create", "-f", str(toml), "--dry-run", "-p", "lr=7")
    assert (sweep["name"], sweep["total"], sweep["max_parallel"]) == ("from a file", 3, 2)
    assert sweep["tasks"][0]["command"] == ["echo", "7"]
    (tmp_path / "fetchml.toml").write_text("[sweep]\nparameters = { lr = [1, 2] }\n")
    sweep = dry_run(server, "--dir", str(tmp_path))
    assert sweep["total"] == 2
    lines = tmp_path / "runs.jsonl"
    lines.write_text("".join(json.dumps({"lr": n, "on": True}) + "\n" for n in range(3)))
    sweep = dry_run(server, "--table", str(lines))
    assert sweep["tasks"][2]["parameters"] == {"lr": "2", "on": "true"}
    for name, text, fault in (
        ("a.toml", "name = ", "it is not TOML"),
        ("a.toml", "nme = 1", "nme is not a field of a sweep"),
        ("a.json", "[]", "it must hold an object"),
        ("a.json", '{"parameters": {"lr": {"valeus": [1]}}}', "parameters.lr: it must have one of"),
        ("a.json", '{"parameters": {"lr": [[1]]}}', "parameters.lr"),
        ("a.json", '{"parameters": {"lr": []}}', "parameters.lr: the list is empty"),
        ("a.json", '{"task": {"gpus": 1}}', "gpus is not a field of a task: did you mean gpu?"),
        ("a.json", '{"task": {"command": "echo"}}', "task.command: must be a list"),
        ("a.json", '{"task": {"env": {"A": 1}}}', "task.env: A must be a string"),
        ("a.json", '{"task": {"job_name": null}}', "task.job_name: must not be null"),
        ("a.json", '{"samples": "x", "parameters": {"lr": [1]}}', "samples: must be an integer"),
        ("table.csv", "", "it has no rows"),
        ("table.csv", "a,b\n1\n", "row 2 has 1 values"),
        ("table.csv", "a,a\n1,2\n", "a name occurs twice"),
        ("table.jsonl", '{"a": 1}\n{"b": 1}\n', "line 2 does not have the same names"),
        ("table.jsonl", "{", "line 1 is not JSON"),
    ):
        (tmp_path / name).write_text(text)
        option = "--table" if name.startswith("table") else "-f"
        wrong = server.run("sweep", "create", option, str(tmp_path / name), "--", "true")
        assert wrong.code == 2, (text, wrong)
        assert fault in wrong.err, (text, wrong.err)


def test_task_of_a_file_has_the_forms_of_rest(server: Server, tmp_path: Path) -> None:
    earlier = server.run("submit", "--", "true").succeeded().strip()
    toml = tmp_path / "sweep.toml"
    toml.write_text(
        f'[task]\njob_name = "named"\nafter = ["{earlier}"]\nstart_after = 2026-11-30T04:00:00Z\n'
        'command = ["echo"]\nenv = { A = "a", B = "b" }\n[parameters]\nlr = [1]\n'
    )
    made = server.json("sweep", "create", "-f", str(toml), "--env", "B=c", "--dir", str(tmp_path))
    [task] = server.json("ls", "--sweep", made["id"])["tasks"]
    task = server.json("show", task["id"])
    assert (task["job_name"], task["env_names"]) == ("named", ["A", "B"])
    assert task["after"] == [{"task_id": earlier, "condition": "completed"}]
    assert task["start_after"] == "2026-11-30T04:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.10,b", ["0.10", "b"]),
        ("1..5", SweepParameter(range=[1, 5])),
        ("0..1..0.5", SweepParameter(range=[0, 1, 0.5])),
        ("-1e-3..2", SweepParameter(range=[-0.001, 2])),
        ("uniform(0, 1)", SweepParameter(uniform=[0, 1])),
        ("log_uniform(1e-4,1)", SweepParameter(log_uniform=[0.0001, 1])),
        ("a..b", ["a..b"]),
        ("f(1),g(2)", ["f(1)", "g(2)"]),
        ('["f(1,2)"]', SweepParameter(values=[Value(string_value="f(1,2)")])),
    ],
)
def test_options_for_parameters(text: str, values: object) -> None:
    assert values_of(text) == values


@pytest.mark.parametrize("text", ["unifrm(0,1)", "uniform(0,b)", "log_uniform(1,2,3)"])
def test_mistyped_draw_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="is not a draw"):
        values_of(text)


def test_no_option_for_parameters_is_lost() -> None:
    twice = ["sweep", "create", "-p", "lr=1", "-p", "lr=2", "--", "echo", "{lr}"]
    done = CliRunner().invoke(fetchml, twice)
    assert done.exit_code == 2
    assert "Give -p lr=… once, with commas between the values" in done.output
