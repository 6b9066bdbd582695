"""Formats of lists, aliases, suggestions, and options wherever they stand."""

import json
import re

import click
import pytest

from fetchml import __version__
from fetchml.cli.groups import moved_behind
from fetchml.cli.list_options import Output, OutputParam, Template
from fetchml.v1.task_pb2 import Task
from tests.support.cli_server import SECONDS, Server, run
from tests.support.terminal import OnTerminal, run_on_terminal


def test_lists_as_ids_json_and_templates(server: Server) -> None:
    task_id = server.run("submit", "-n", "shaped", "-m", "lr=0.1", "--", "true").succeeded()
    server.run("watch", task_id).succeeded()
    chosen = ("ls", "--name", "shaped")
    assert server.run(*chosen, "-o", "name").succeeded() == task_id
    template = r"template={id}\t{status} {metadata.lr} {exit_code} {error}|{{"
    assert server.run(*chosen, "-o", template).succeeded() == f"{task_id}\tcompleted 0.1 0 |{{"
    as_json = server.run(*chosen, "-o", "json").succeeded()
    assert as_json == server.run(*chosen, "--json").succeeded()
    assert json.loads(as_json)["tasks"][0]["id"] == task_id
    wrong = server.run(*chosen, "-o", "template={idd}").failed(2)
    assert "Unknown field 'idd'. Did you mean 'id'? The fields are id, job_name, " in wrong
    assert server.run("ls", "--json", "-o", "wide").code == 2


def test_wrong_usage_is_wrapped_at_words_on_a_terminal(server: Server) -> None:
    text = run_on_terminal(("ls", "-o", "template={job_nam}"), server.variables, columns=60)
    error = text[text.index("Error: ") :]
    assert "Did you mean 'job_name'?" in " ".join(error.split())
    assert [line for line in error.splitlines() if len(line) > 60] == []
    assert {"failure_reason,", "cancel_requested_by,"} <= set(error.split()), "no word is broken"


def test_wide_lists_have_all_columns_on_a_narrow_terminal(server: Server) -> None:
    task_id = server.run("submit", "-n", "wide" * 15, "--", "true").succeeded()
    with OnTerminal(("ls", "-o", "wide"), server.variables, columns=60) as terminal:
        shown = terminal.finish()
    assert "PRIORITY" in shown
    line = next(line for line in shown.splitlines() if line.startswith(task_id))
    assert "wide" * 15 in line


def test_every_list_has_ids_and_templates(server: Server) -> None:
    server.run("experiment", "create", "shown").succeeded()
    for command in ("experiment ls", "snapshot ls", "jupyter ls", "keys ls", "audit", "storage"):
        assert server.run(*command.split(), "-o", "name").code == 0, command
    rows = server.run("experiment", "ls", "-o", "template={name}").succeeded().splitlines()
    assert "shown" in rows
    assert "admin" in server.run("keys", "ls", "-o", "template={name} {role}").succeeded()


def test_global_options_may_stand_before_the_command(server: Server) -> None:
    nowhere = "127.0.0.1:1"
    at = ("--server", server.grpc)
    assert "queued" in json.loads(
        server.run("--json", *at, "queue", FETCHML_SERVER=nowhere).succeeded()
    )
    made = server.run("experiment", *at, "ls", "-o", "json", FETCHML_SERVER=nowhere)
    assert "experiments" in json.loads(made.succeeded())
    task_id = server.run(*at, "submit", "--", "true", FETCHML_SERVER=nowhere).succeeded()
    assert server.json("show", task_id)["command"] == ["true"]
    keys = run("--data-dir", str(server.data_dir), "keys", "ls")
    assert "admin" in keys.succeeded()
    assert "admin" in run("keys", "ls", "--data-dir", str(server.data_dir)).succeeded()


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        ("--json ls", "ls --json"),
        ("--server=a -o json ls x", "ls --server=a -o json x"),
        ("--server a experiment ls", "experiment --server a ls"),
        ("submit -- a --json", "submit -- a --json"),
        ("--json --help", "--help"),
        ("--version", "--version"),
        ("--server", ""),
        ("--nothing ls", "--nothing ls"),
    ],
)
def test_options_are_moved_behind_the_command(given: str, moved: str) -> None:
    assert moved_behind(given.split()) == moved.split()


def test_aliases_and_suggestions(server: Server) -> None:
    for alias in ("ps", "list"):
        assert server.run(alias).succeeded().startswith("ID ")
    assert "NAME" in server.run("experiment", "list").succeeded()
    waits = server.run("submit", "--hold", "--", "true").succeeded()
    assert server.run("explain", waits).succeeded() == server.run("show", waits).succeeded()
    server.run("cancel", waits).succeeded()
    assert "Did you mean 'submit'?" in run("sumbit").err
    assert "Did you mean 'create'?" in run("experiment", "crate").err
    assert re.search("Did you mean .*'--status'", run("ls", "--statu", "queued").err)
    assert run("--version").succeeded() == f"fetchml {__version__}"


@pytest.mark.slow
def test_experiments_by_name(server: Server) -> None:
    made = server.run("experiment", "create", "by name").succeeded()
    task_id = server.run("submit", "--experiment", "by name", "--", "true").succeeded()
    assert server.json("show", task_id)["experiment_id"] == made
    for named in ("by name", made, made[-8:]):
        assert server.json("experiment", "show", named)["id"] == made
    assert server.run("ls", "--experiment", "by name", "-o", "name").succeeded() == task_id
    assert task_id in server.run("experiment", "compare", "by name").succeeded()
    assert "Experiment by nam not found" in server.run("experiment", "show", "by nam").failed(5)
    server.run("experiment", "create", "by name").succeeded()
    both = server.run("experiment", "show", "by name").failed(2)
    assert "2 experiments are named by name" in both
    assert server.run("experiment", "archive", made).code == 0


@pytest.mark.slow
def test_own_failures_of_wait_have_an_exit_code_of_their_own(server: Server) -> None:
    assert server.run("submit", "--wait").code == 125
    assert "There is nothing to run" in server.run("submit").err
    assert server.run("submit", "--wait", "--priority", "11", "true").code == 125
    assert server.run("submit", "-w", "--nothing", "true").code == 125
    # Each is tried again for half a minute.
    nowhere = {"FETCHML_SERVER": "127.0.0.1:1", "FETCHML_API_KEY": "any"}
    with (
        server.begin("submit", "--wait", "true", **nowhere) as waits,
        server.begin("submit", "true", **nowhere) as leaves,
    ):
        assert (waits.wait(SECONDS), leaves.wait(SECONDS)) == (125, 3)
    for code in (1, 2, 3):
        assert server.run("submit", "--wait", "sh", "-c", f"exit {code}").code == code


def test_a_dumb_terminal_gets_plain_lines(server: Server) -> None:
    variables = {**server.variables, "TERM": "dumb"}
    for command in (("ls",), ("top",), ("submit", "--wait", "--", "echo", "hello")):
        with OnTerminal(command, variables) as terminal:
            terminal.finish()
        assert "\x1b" not in terminal.shown, command
    assert "hello" in terminal.shown


def test_no_colour(server: Server) -> None:
    with OnTerminal(("show", "nothing"), {**server.variables, "NO_COLOR": "1"}) as terminal:
        terminal.finish()
    assert "\x1b" not in terminal.shown
    with OnTerminal(("show", "nothing"), {**server.variables, "NO_COLOR": ""}) as terminal:
        terminal.finish()
    assert "\x1b[31m" in terminal.shown


def test_templates() -> None:
    task = Task(id="x", job_name="a\x1b[2J", status=Task.running, command=["a", "b"], cpu=3)
    task.metadata["a.b"] = "dotted"
    shown = Template("{id} {status} {cpu} {command} {command.1} {metadata.a.b}{metadata.c}")
    assert shown.fill(task) == 'x running 3 ["a", "b"] b dotted'
    assert OutputParam().convert("wide", None, None) == Output("wide")
    for malformed in ("template", "template=", "template={", "template={}", "xml", "json=1"):
        with pytest.raises(click.BadParameter):
            OutputParam().convert(malformed, None, None)
