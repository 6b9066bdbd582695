"""Completion: the scripts of the shells, and the values that the server knows."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from testbed import debian
from tests.support import preloaded
from tests.support.cli_server import SECONDS, Server, environment, run
from tests.support.commands import ran
from tests.support.terminal import OnTerminal


def completed(server: Server, line: str, shell: str = "bash") -> list[str]:
    """Return the completions of the last word of a command line."""
    words = line.split(" ")
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        variables["COMP_CWORD"] = words[-1]
    done = run(**{**server.variables, **variables, "_FETCHML_COMPLETE": f"{shell}_complete"})
    return done.succeeded().splitlines()


@pytest.mark.slow
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


@pytest.fixture
def shells(server: Server, tmp_path: Path) -> dict[str, str]:
    """The variables of a shell whose `fetchml` is the one that is tested."""
    program = tmp_path / "fetchml"
    program.write_text(preloaded.script())
    program.chmod(0o755)
    # zsh and fish keep files in the home folder.
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    return {**server.variables, **home, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def said(shell: str, lines: str, variables: dict[str, str]) -> str:
    done = ran([shell, "-c", lines], check=True, env=environment(**variables))
    return done.stdout


def test_bash_completes_with_the_script(server: Server, shells: dict[str, str]) -> None:
    """What a person gets at the Tab key."""
    task_id = server.run("submit", "-n", "in-bash", "--", "true").succeeded()
    lines = """
eval "$(fetchml completion bash)"
COMP_WORDS=(fetchml show in-bas) COMP_CWORD=2
_fetchml_completion fetchml
echo "${COMPREPLY[@]}"
"""
    assert task_id in said("bash", lines, shells).split()


@pytest.mark.slow
def test_fish_completes_with_the_script(server: Server, shells: dict[str, str]) -> None:
    """`complete -C` prints what the Tab key offers, with the text beside it."""
    debian.install("fish")
    task_id = server.run("submit", "-n", "in-fish", "--", "true").succeeded()
    server.run("watch", task_id).succeeded()
    file = Path(shells["XDG_CONFIG_HOME"]) / "fish" / "completions" / "fetchml.fish"
    file.parent.mkdir(parents=True)
    said("fish", f"fetchml completion fish > {file}", shells)

    def offered(line: str) -> list[list[str]]:
        listed = said("fish", f"complete -C '{line}'", shells)
        return [each.split("\t") for each in listed.splitlines()]

    one = [[task_id, "completed in-fish"]]
    assert offered(f"fetchml show {task_id[:-1]}") == one
    assert offered(f"fetchml logs -f {task_id[-12:-1]}") == one
    assert offered("fetchml show in-fis") == one
    assert offered("fetchml ls --statu")[0][0] == "--status"
    [[command, about]] = offered("fetchml sho")
    assert (command, ", " in about) == ("show", True), "the text is whole"
    assert offered("fetchml nothing-begins-so") == []


@pytest.mark.slow
def test_zsh_completes_at_the_tab_key(server: Server, shells: dict[str, str]) -> None:
    debian.install("zsh")
    task_id = server.run("submit", "-n", "in-zsh", "--", "true").succeeded()
    server.run("watch", task_id).succeeded()
    with OnTerminal(("-f", "-i"), shells, columns=200, program=("zsh",)) as terminal:
        terminal.type("PS1='> '; autoload -U compinit; compinit -u -D\n")
        terminal.type("source <(fetchml completion zsh); echo re''ady\n")
        terminal.until("ready")
        for typed in (task_id[:-1], task_id[-12:-1], "in-zs"):
            # Only a whole id, or its end, is a task's: without completion this is an error.
            terminal.type(f"fetchml show {typed}\t\n")
            assert re.search(rf"^id +{task_id}$", terminal.until("exit code"), re.MULTILINE)
        terminal.type("exit\n")
        terminal.finish()
