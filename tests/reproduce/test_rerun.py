"""`fetchml rerun` and `fetchml reproduce`."""

import json
from pathlib import Path

import pytest

from fetchml.cli.errors import ExitCode
from tests.reproduce.conftest import finished
from tests.server.environment_tasks import wheel
from tests.support.cli_server import Server


def log_of(server: Server, task_id: str) -> str:
    server.run("logs", "-f", task_id).succeeded()
    return server.run("logs", task_id).succeeded()


def test_task_of_a_sweep_with_another_value(server: Server, code: Path) -> None:
    server.run(
        *(
            "sweep",
            "create",
            "--dir",
            str(code),
            "-p",
            "lr=1,2",
            "-p",
            "seed=7",
            "-e",
            "SEED={seed}",
        ),
        *("--", "python3", "train.py", "{lr}", "{{lr}}"),
    ).succeeded()
    task = server.json("show", "@last")["id"]
    other = server.run("rerun", task, "-p", "lr=9").succeeded()
    assert log_of(server, other) == "9.0 9 7 ['{lr}']"
    shown = server.json("show", other)
    assert shown["parameters"] == {"lr": "9", "seed": "7"}
    assert shown["rerun_of"] == task
    again = server.run("rerun", other, "-p", "seed=8").succeeded()
    assert log_of(server, again) == "9.0 9 8 ['{lr}']"
    refused = server.run("rerun", other, "-p", "momentum=1").failed(2)
    assert "no parameter of the task: its parameters are lr, seed" in refused


def test_other_arguments_and_placeholders_of_a_single_task(server: Server, code: Path) -> None:
    run = ("--dir", str(code), "-e", "SEED=kept")
    task = finished(server, *run, "--", "python3", "train.py", "1", "{note}")
    assert log_of(server, task) == "1.0 None kept ['{note}']"
    other = server.run("rerun", task, "-p", "note=a b", "--", "--epochs", "5 6").succeeded()
    assert log_of(server, other) == "1.0 None kept ['a b', '--epochs', '5 6']"


def test_reproduced_task_is_the_same(server: Server, code: Path) -> None:
    task = finished(server, "--dir", str(code), "-e", "SEED=3", "--", "python3", "train.py", "0.5")
    done = server.run("reproduce", task)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-2:] == ["results      identical", "outputs      identical"]


def test_what_is_not_the_same_is_named(server: Server, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    script = (
        f"import os, json; runs = open({str(runs)!r}, 'a'); runs.write('.'); "
        "out = os.environ['FETCHML_OUTPUTS']; "
        "json.dump({'loss': 1 + runs.tell() / 1e7}, open(out + '/metrics.json', 'w')); "
        "open(out + '/model', 'w').write('same' * 9)"
    )
    task = finished(server, "--", "python3", "-c", script)
    done = server.run("reproduce", task, "--json")
    assert done.code == ExitCode.DIFFERENT, done.err
    found = {each["name"]: each for each in json.loads(done.out)["sections"]}
    assert [each["name"] for each in found["results"]["changes"]] == ["loss"]
    assert {each["name"] for each in found["outputs"]["changes"]} == {"metrics.json"}
    assert server.run("reproduce", task, "--tolerance", "1e-5").code == 0
    assert server.run("reproduce", task, "--tolerance", "1e-9").code == ExitCode.DIFFERENT


def test_equal_sizes_are_read(server: Server) -> None:
    script = 'head -c 100 /dev/urandom > "$FETCHML_OUTPUTS/model"'
    task = finished(server, "--", "sh", "-c", script)
    done = server.run("reproduce", task, "--json")
    assert done.code == ExitCode.DIFFERENT
    [change] = json.loads(done.out)["sections"][-1]["changes"]
    assert change["before"].startswith("sha256 ")


@pytest.mark.slow
def test_packages_are_those_of_then(tmp_path: Path, code: Path) -> None:
    wheels = tmp_path / "wheels"
    wheel(wheels, "1.0")
    server = Server(tmp_path / "data", FETCHML_ENVIRONMENTS_FIND_LINKS=str(wheels)).start()
    try:
        (code / "requirements.txt").write_text("--no-index\ntiny\n")
        run = ("--dir", str(code), "--", "python3", "-c", "import tiny; print(tiny.WHAT)")
        task = finished(server, *run)
        assert log_of(server, task) == "tiny 1.0"
        wheel(wheels, "2.0")
        server.run("env", "rm", server.json("env", "ls")["environments"][0]["id"]).succeeded()
        newer = server.run("rerun", task).succeeded()
        assert log_of(server, newer) == "tiny 2.0"
        found = {each["name"]: each for each in server.json("diff", task, newer)["sections"]}
        [change] = found["environment"]["changes"]
        assert (change["name"], change["before"], change["after"]) == ("tiny", "1.0", "2.0")
        same = server.run("reproduce", task)
        assert same.code == 0, same.err
        assert log_of(server, server.json("show", "@last")["id"]) == "tiny 1.0"
    finally:
        server.stop()


def test_record_survives_the_server(tmp_path: Path) -> None:
    """A server that is killed between the preparation and the report of the start."""
    server = Server(tmp_path / "data", FETCHML_CRASH_AT="gate_opened").start()
    server.run("submit", "--", "sleep", "1").succeeded()
    server.wait()
    server = Server(tmp_path / "data").start()
    try:
        task = server.json("show", "@last")
        server.run("logs", "-f", task["id"]).succeeded()
        assert server.json("show", "@last")["ran_with"]["attempt"] == 1
    finally:
        server.stop()
