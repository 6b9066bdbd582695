"""What a folder's fetchml.toml asks for, and the options that grant it."""

import re
import shlex
from pathlib import Path

import pytest

from tests.support.cli_server import Server

ASKS = """\
cpu = 1
secrets = [{ name = "TOKEN" }, { name = "KEY", as = "file" }]

[[notify]]
url = "https://hooks.example/a?b=1&c=2"
on = ["failed"]
"""
REFUSED = "fetchml.toml: line 2: secrets: the file can't grant itself what it asks for."
OPTIONS = re.compile(r"Submit with (.+), or leave it out: (.+) \(in a request")
DRILLED = ("--kills", "1", "--within", "60", "--json")


@pytest.fixture
def code(server: Server, tmp_path: Path) -> str:
    """A folder of somebody else's code."""
    for name in ("TOKEN", "KEY"):
        (tmp_path / name).write_text(f"value of {name}")
        server.run("secret", "set", name, "--file", str(tmp_path / name)).succeeded()
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "fetchml.toml").write_text(ASKS)
    (folder / "steal.py").write_text("import os; print(os.environ.get('TOKEN', 'nothing')[::-1])\n")
    (folder / "job.sh").write_text("#!/bin/sh\necho ${TOKEN:-nothing} | tr a-z A-Z\n")
    return str(folder)


def options(refusal: str) -> tuple[list[str], list[str]]:
    """What a refused submit advises: options that grant, and options that leave out."""
    assert REFUSED in refusal
    found = OPTIONS.search(refusal)
    assert found is not None, refusal
    return shlex.split(found[1]), shlex.split(found[2])


def test_code_gets_no_token_unless_the_command_names_it(server: Server, code: str) -> None:
    run = ("--", "python3", "steal.py")
    refused = server.run("submit", "--dir", code, "--wait", *run)
    grant, leave_out = options(refused.failed(125))
    assert grant == [
        *("--secret", "TOKEN", "--secret", "KEY:file"),
        *("--notify", "failed,https://hooks.example/a?b=1&c=2"),
    ]
    ran = server.run("submit", "--dir", code, "--wait", *leave_out, *run)
    assert ran.succeeded() == "nothing"[::-1]
    ran = server.run("submit", "--dir", code, "--wait", *grant, *run)
    assert ran.succeeded() == "value of TOKEN"[::-1]
    task = server.json("show", "@last")
    assert [each["name"] for each in task["secrets"]] == ["TOKEN", "KEY"]
    # The snapshot asks the same of everybody who runs it.
    options(server.run("submit", "--snapshot", task["snapshot_id"], *run).failed(2))
    assert len(server.json("retry", task["id"])["secrets"]) == 2


def test_other_commands_that_submit_code(server: Server, code: str) -> None:
    sweep = ("sweep", "create", "--dir", code, "-p", "x=1..2")
    grant, leave_out = options(server.run(*sweep, "--dry-run", "--", "true").failed(2))
    server.run(*sweep, *grant, "--", "true").succeeded()
    assert len(server.json("show", "@last")["secrets"]) == 2
    batch = ("sbatch", f"--chdir={code}", "--wait", f"{code}/job.sh")
    options(server.run(*batch).failed(2))
    assert server.run(batch[0], *leave_out, *batch[1:]).succeeded() == "NOTHING"
    assert server.run(batch[0], *grant, *batch[1:]).succeeded() == "VALUE OF TOKEN"
    drill = ("drill", f"{code}/steal.py", *DRILLED)
    options(server.run(*drill).failed(2))
    server.run(*drill, *leave_out).succeeded()
    wrong = server.run("drill", "@last", *leave_out)
    assert (wrong.code, "name a script instead of a task" in wrong.err) == (2, True)
