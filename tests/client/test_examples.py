"""The example clients against a live server: cuts, failures, and errors with all details."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from fetchml.v1 import task_pb2_grpc
from tests.client.programs import OVER_GRPC, Program
from tests.client.relay import Relay
from tests.client.test_rules import serving
from tests.support.cli_server import SECONDS, Server, environment

pytestmark = pytest.mark.slow

CALLS_SECONDS = 4 * SECONDS

over_grpc = pytest.mark.parametrize(
    "program", OVER_GRPC, indirect=True, ids=lambda made: made.__name__
)


def begin(
    program: Program, server: str, key: str, job_name: str, *command: str, patience: int = 60
) -> subprocess.Popen[str]:
    variables = {
        program.address: server,
        "FETCHML_API_KEY": key,
        "FETCHML_PATIENCE": str(patience),
    }
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


def test_a_client_resumes_after_a_cut(
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


def test_cuts_further_apart_than_the_patience_are_survived(
    program: Program, server: Server, key: str, tmp_path: Path
) -> None:
    relay = Relay(address(program, server))
    command = ("sh", "-c", f"until [ -e {tmp_path}/go ]; do sleep 0.05; done")
    with begin(program, relay.address, key, "quiet", *command, patience=2) as client:
        assert client.stdout is not None
        assert client.stderr is not None
        assert any(line == "running\n" for line in client.stdout)
        for _ in range(2):
            time.sleep(2.5)
            relay.cut()
            assert client.stderr.readline().startswith("cut off; going on after ")
        (tmp_path / "go").touch()
        _, said = client.communicate(timeout=CALLS_SECONDS)
    relay.close()
    assert client.returncode == 0, said


@over_grpc
def test_an_unreachable_server_ends_the_client(program: Program, server: Server, key: str) -> None:
    relay = Relay(server.grpc)
    relay.down()
    with begin(program, relay.address, key, "away", "true", patience=2) as client:
        _, said = client.communicate(timeout=CALLS_SECONDS)
    relay.close()
    assert client.returncode == 2, said


def test_a_log_is_complete_after_a_cut(program: Program, server: Server, key: str) -> None:
    relay = Relay(address(program, server))
    with begin(program, relay.address, key, "log", "seq", "500000") as client:
        assert client.stdout is not None
        assert client.stderr is not None
        assert any(line == "completed\n" for line in client.stdout)
        # The client blocks until this reads on, so most of the log is still to come.
        first = client.stdout.readline()
        relay.cut()
        rest, said = client.stdout.read(), client.stderr.read()
    relay.close()
    assert client.returncode == 0, said
    assert (first + rest).split() == [str(number) for number in range(1, 500_001)]
    if program.address == "FETCHML_SERVER":
        assert "cut off; going on after " in said


def test_a_busy_server_is_retried(program: Program, tmp_path: Path) -> None:
    limits = {"FETCHML_RATE_LIMIT_PER_SECOND": "1", "FETCHML_RATE_LIMIT_BURST": "1"}
    busy = Server(tmp_path / "data", **limits).start()
    own = (busy.data_dir / "admin.key").read_text().strip()
    with begin(program, address(program, busy), own, "busy", "echo", "done") as client:
        out, said = client.communicate(timeout=CALLS_SECONDS)
    assert busy.stop() == 0
    assert (client.returncode, out.splitlines()[-1]) == (0, "done"), said


class Stranger(task_pb2_grpc.TaskServiceServicer):
    """A server other than FetchML, whose errors have other details."""

    def CreateTask(self, request: Any, context: Any) -> Any:  # noqa: N802  # the RPC's name
        told = status_pb2.Status(code=grpc.StatusCode.PERMISSION_DENIED.value[0], message="no")
        told.details.add().Pack(status_pb2.Status())
        told.details.add(type_url="elsewhere/of.Nobody")
        told.details.add().Pack(error_details_pb2.ErrorInfo(reason="NO", domain="elsewhere"))
        context.abort_with_status(rpc_status.to_status(told))


@over_grpc
def test_an_error_of_another_server(program: Program) -> None:
    with (
        serving(Stranger()) as server,
        begin(program, server, "", "example", "true") as client,
    ):
        _, said = client.communicate(timeout=CALLS_SECONDS)
    assert client.returncode == 2
    assert "code NO, trace " in said


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
