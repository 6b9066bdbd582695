"""Completion: the scripts of the shells, and the values that the server knows."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.cli_server import FETCHML, SECONDS, Server, environment, run


def completed(server: Server, line: str, shell: str = "bash") -> list[str]:
    """Return the completions of the last word of a command line."""
    words = line.split(" ")
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        variables["COMP_CWORD"] = words[-1]
    done = run(**{**server.variables, **variables, "_FETCHML_COMPLETE": f"{shell}_complete"})
    return done.succeeded().splitlines()


def test_ids_complete_from_the_server(server: Server) -> None:
    name = "completes-by-name"
    live = server.run("submit", "-n", name, "--", "sleep", "1000").succeeded()
    over = server.run("submit", "-n", f"{name}-too", "--", "true").succeeded()
    server.run("watch", over).succeeded()
    assert completed(server, f"fetchml show {live[:-1]}") == [f"plain,{live}"]
    assert completed(server, f"fetchml logs -f {over[-12:-1]}") == [f"plain,{over}"]
    assert set(completed(server, f"fetchml show {name}")) == {f"plain,{live}", f"plain,{over}"}
    assert completed(server, f"fetchml cancel {name}") == [f"plain,{live}"], "live ones only"
    made = server.run("experiment", "create", "completed").succeeded()
    assert completed(server, "fetchml experiment show complet") == [f"plain,{made}"]
    assert completed(server, "fetchml ls --experiment complet") == [f"plain,{made}"]
    fish = completed(server, f"fetchml show {live[:-1]}", "fish")
    assert f"{name}" in "\n".join(fish)
    server.run("cancel", live).succeeded()


def test_commands_and_options_complete(server: Server) -> None:
    assert completed(server, "fetchml exper") == ["plain,experiment"]
    assert completed(server, "fetchml ls --stat") == ["plain,--status"]
    assert "plain,running" in completed(server, "fetchml ls --status r")
    assert completed(server, "fetchml experiment com") == ["plain,compare"]


def test_an_unreachable_server_completes_nothing(server: Server) -> None:
    variables = {"COMP_WORDS": "fetchml show x", "COMP_CWORD": "2", "FETCHML_API_KEY": "any"}
    done = run(FETCHML_SERVER="127.0.0.1:1", _FETCHML_COMPLETE="bash_complete", **variables)
    assert (done.code, done.out.strip(), done.err) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str) -> None:
    script = run("completion", shell).succeeded()
    assert f"_FETCHML_COMPLETE={shell}_complete" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=SECONDS)


def test_bash_completes_with_the_script(server: Server, tmp_path: Path) -> None:
    """What a person gets at the Tab key."""
    task_id = server.run("submit", "-n", "in-bash", "--", "true").succeeded()
    program = tmp_path / "fetchml"
    program.write_text(f'#!/bin/sh\nexec {" ".join(FETCHML)} "$@"\n')
    program.chmod(0o755)
    lines = """
eval "$(fetchml completion bash)"
COMP_WORDS=(fetchml show in-bas) COMP_CWORD=2
_fetchml_completion fetchml
echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "-c", lines],
        capture_output=True,
        check=True,
        env=environment(**server.variables, PATH=f"{tmp_path}:{os.environ['PATH']}"),
        text=True,
        timeout=SECONDS,
    )
    assert task_id in done.stdout.split(), done.stderr
