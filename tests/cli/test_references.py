"""Other tasks and sweeps that a folder's fetchml.toml names, as options name them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_server import Server


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


def held(server: Server, *options: str) -> str:
    return server.run("submit", "--hold", *options, "--", "true").succeeded()


def submitted(server: Server, code: Path, text: str, *options: str) -> dict[str, Any]:
    (code / "fetchml.toml").write_text(text)
    given = ("submit", "--json", "--dir", str(code), *options, "--", "true")
    found: dict[str, Any] = json.loads(server.run(*given).succeeded())
    return found


def test_ids_may_be_short_and_last(server: Server, code: Path) -> None:
    first, second = held(server, "--checkpoint"), held(server)
    third = held(server)
    task = submitted(
        server,
        code,
        f"""
        after = ["{second[-12:]}:ended", {{ task_id = "{first[-12:]}", condition = "failed" }}]
        inputs_from = ["@last"]
        checkpoint_from = "{first[-12:]}"
        start_after = 2100-01-01T12:00:00+01:00
        hold = true
        """,
    )
    assert task["after"] == [
        {"task_id": second, "condition": "ended"},
        {"task_id": first, "condition": "failed"},
        {"task_id": third, "condition": "completed"},
    ]
    assert (task["inputs_from"], task["checkpoint_from"]) == ([third], first)
    assert (task["start_after"], task["held"]) == ("2100-01-01T11:00:00.000Z", True)
    # The snapshot has the file, wherever it is submitted from.
    same = ("--snapshot", task["snapshot_id"], "--no-hold", "--json")
    again = json.loads(server.run("submit", *same, "--", "true").succeeded())
    assert again["after"][2]["task_id"] == task["id"]
    assert again["checkpoint_from"] == first
    assert not again.get("held")
    server.run("cancel", first, second, third, task["id"], again["id"]).succeeded()


def test_options_come_before_the_file(server: Server, code: Path) -> None:
    first, second = held(server), held(server, "--checkpoint")
    text = f'after = ["{first[-12:]}", "none-such"]\ncheckpoint_from = "dead"\nhold = true\n'
    task = submitted(
        server, code, text, "--after", "@last", "--from-checkpoint", second, "--no-hold"
    )
    assert task["after"] == [{"task_id": second, "condition": "completed"}]
    assert task["checkpoint_from"] == second
    assert not task.get("held")
    server.run("cancel", first, second, task["id"]).succeeded()


@pytest.mark.slow
def test_sweeps_are_named_by_name_in_both_files(server: Server, code: Path, tmp_path: Path) -> None:
    made = server.run(
        *("sweep", "create", "--hold", "--sweep-name", "named", "-p", "n=1,2", "--", "true")
    ).succeeded()
    task = submitted(server, code, 'after = [{ sweep_id = "named" }]\nhold = true\n')
    assert task["after"] == [{"sweep_id": made, "condition": "completed"}]
    after = 'after = ["same-index:named:ended"]\ninputs_from = ["same-index:named"]\n'
    (code / "fetchml.toml").write_text(f"{after}[sweep]\nparameters = {{ n = [1, 2] }}\n")
    file = tmp_path / "sweep.toml"
    file.write_text(f'[task]\njob_name = "t"\n{after}[parameters]\nn = [1, 2]\n')
    own = [task["id"] for task in server.json("ls", "--sweep", made)["tasks"]]
    for source in (("--dir", str(code)), ("--file", str(file))):
        follows = server.run("sweep", "create", *source, "--", "true").succeeded()
        tasks = server.json("ls", "--sweep", follows)["tasks"]
        assert [each["inputs_from"] for each in tasks] == [[each] for each in own]
        assert {each["after"][0]["condition"] for each in tasks} == {"ended"}
        server.run("sweep", "cancel", follows).succeeded()
    # A file of the sweep comes before that of the code.
    (code / "fetchml.toml").write_text('after = ["dead"]\n')
    both = ("--file", str(file), "--dir", str(code), "--dry-run")
    assert "2 tasks" in server.run("sweep", "create", *both, "--", "true").succeeded()
    server.run("sweep", "cancel", made).succeeded()
    server.run("cancel", task["id"]).succeeded()


def test_faults_name_the_file(server: Server, code: Path) -> None:
    for text, fault, exit_code in [
        ('after = ["dead"]', "fetchml.toml: after: Task dead not found", 5),
        ('after = ["sweep:no-such"]', "fetchml.toml: after: Sweep no-such not found", 5),
        ('after = ["@last:later"]', "fetchml.toml: after: '@last:later' is not a task with", 2),
        ('inputs_from = ["sweep:x"]', "the outputs of a whole sweep can't be inputs", 2),
        ("\n[[after]]\ntask_id = 1\n", "fetchml.toml: line 2: after item 0 task_id must be", 2),
        ('secrets = [{ name = "NO" }]', "line 1: secrets: the file can't grant itself what", 2),
    ]:
        (code / "fetchml.toml").write_text(text)
        wrong = server.run("submit", "--dir", str(code), "--", "true")
        assert fault in wrong.failed(exit_code)
