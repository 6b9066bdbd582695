"""The example clients against a live server: to a task's end, through a cut; and errors in full."""

import os
import subprocess
from pathlib import Path

from tests.cli.server import SECONDS, Server, environment
from tests.clients.programs import Program
from tests.clients.relay import Relay

CALLS_SECONDS = 4 * SECONDS


def begin(
    program: Program, server: str, key: str, job_name: str, *command: str
) -> subprocess.Popen[str]:
    variables = {program.address: server, "FETCHML_API_KEY": key}
    path = f"{program.path}:{os.environ['PATH']}" if program.path else os.environ["PATH"]
    return subprocess.Popen(
        [*program.command, job_name, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables, PATH=path),
        text=True,
    )


def address(program: Program, server: Server) -> str:
    return server.http if program.address == "FETCHML_HTTP" else server.grpc


def test_a_task_through_a_cut_to_its_end(
    program: Program, server: Server, key: str, tmp_path: Path
) -> None:
    relay = Relay(address(program, server))
    script = f'echo one; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo "two $1"'
    command = ("sh", "-c", script, "sh", "a  b")
    with begin(program, relay.address, key, "example", *command) as client:
        assert client.stdout is not None
        assert client.stderr is not None
        head = [client.stdout.readline().strip()]
        while head[-1] not in ("running", ""):
            head.append(client.stdout.readline().strip())
        relay.cut()
        said = client.stderr.readline()
        (tmp_path / "go").touch()
        tail, more = client.communicate(timeout=CALLS_SECONDS)
    relay.close()
    assert said.startswith("cut off; going on after "), said
    assert client.returncode == 0, more
    task_id = head[0].removeprefix("task ")
    assert head[-1] == "running"
    assert tail.splitlines()[-3:] == ["completed", "one", "two a  b"]
    statuses = [*head[1:], *tail.splitlines()[:-2]]
    order = ["queued", "preparing", "running", "collecting", "completed"]
    assert statuses == [status for status in order if status in statuses], "each once, in order"
    assert server.json("show", task_id)["command"] == list(command)


def test_a_task_that_fails(program: Program, server: Server, key: str) -> None:
    with begin(program, address(program, server), key, "fails", "sh", "-c", "exit 3") as client:
        out, said = client.communicate(timeout=CALLS_SECONDS)
    assert client.returncode == 1, said
    assert out.splitlines()[-1] == "failed"


def test_an_error_with_its_details(program: Program, server: Server, key: str) -> None:
    with begin(program, address(program, server), key, "a b", "true") as client:
        out, said = client.communicate(timeout=CALLS_SECONDS)
    assert (client.returncode, out) == (2, "")
    assert f"error {program.code}: " in said
    assert "job_name: " in said
    trace = said.rpartition("trace ")[2].split()[0]
    assert len(trace) == 36
    assert key not in said


def test_a_wrong_key(program: Program, server: Server) -> None:
    with begin(program, address(program, server), "wrong", "example", "true") as client:
        _, said = client.communicate(timeout=CALLS_SECONDS)
    assert client.returncode == 2
    assert "UNAUTHORIZED" in said
