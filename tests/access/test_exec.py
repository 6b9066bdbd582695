"""`fetchml exec`, in a real container and beside a real process."""

import hashlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.message import Message

from fetchml.api.grpc.access import MAX_INPUT
from fetchml.client import BadRequest, Conflict, Forbidden, Unauthorized
from fetchml.client.access import PIECE_BYTES, exec_task
from fetchml.core.model import Role
from fetchml.v1.access_pb2 import ExecTaskRequest
from tests.access.conftest import Entered
from tests.support.cli_server import FETCHML, environment
from tests.support.terminal import OnTerminal
from tests.support.waiting import SECONDS, wait_until

if TYPE_CHECKING:
    from fetchml.v1.access_pb2 import ExecTaskResponse

ANY_BYTE = bytes(range(256)) * 2000


class Session:
    """An open session whose replies a test reads one by one."""

    def __init__(
        self, entered: Entered, *command: str, client: object = None, pieces: int = 0
    ) -> None:
        """`pieces`: of 32 KiB, sent as input."""
        self._ended = threading.Event()
        self.sent, self.sent_at = 0, 0.0
        rpc = exec_task(entered.task_id, command)

        def messages() -> Iterator[Message]:
            yield rpc.request
            for _ in range(pieces):
                yield ExecTaskRequest(input=bytes(PIECE_BYTES))
                self.sent, self.sent_at = self.sent + 1, time.monotonic()
            self._ended.wait(SECONDS)

        who = client or entered.owner
        self.replies: Iterator[ExecTaskResponse] = who.converse(rpc, messages)  # type: ignore[attr-defined]

    def until(self, text: bytes) -> None:
        shown = b""
        while text not in shown:
            shown += next(self.replies).stdout

    def is_stuck(self) -> bool:
        """Whether some input was sent, and no more was taken for a second."""
        return self.sent > 0 and time.monotonic() - self.sent_at > 1

    def close(self) -> None:
        self.replies.close()  # type: ignore[attr-defined]
        self._ended.set()


def running(entered: Entered, mark: str) -> str:
    """The processes in the task with a text in their command line, without the looking one."""
    script = (
        'for each in /proc/[0-9]*; do tr "\\0" " " < $each/cmdline 2>/dev/null; echo; done'
        f" | grep '{mark[0]}[{mark[1]}]{mark[2:]}'"
    )
    return entered.exec(script)[1]


def test_streams_and_exit_code(entered: Entered) -> None:
    assert entered.exec("echo out; echo error >&2; exit 7") == (7, "out\n", "error\n")


def test_any_bytes_pass_unchanged(entered: Entered) -> None:
    ended = entered.owner.exec(entered.task_id, ["cat"], data=ANY_BYTE)
    assert ended.stdout == ANY_BYTE
    assert (ended.code, ended.stderr) == (0, b"")


def test_it_runs_as_the_task_does(entered: Entered) -> None:
    """With its user, environment, working folder, and within its limits."""
    told = (
        "id -u; pwd; echo $FETCHML_TASK_ID $FETCHML_OUTPUTS; grep -E 'NoNewPrivs|CapEff|Seccomp:'"
        " /proc/self/status; cat /proc/self/cgroup"
    )
    task = entered.run(f'o="$FETCHML_OUTPUTS"; ({told}) > "$o/told"; touch "$o/done"; sleep 3600')
    read = 'cd "$FETCHML_OUTPUTS"; until [ -e done ]; do sleep 0.1; done; cat told'
    own = entered.exec(read, task)[1]
    assert task in own
    assert entered.exec(told, task)[1] == own
    entered.owner.cancel(task)


def test_command_that_does_not_start(entered: Entered) -> None:
    missing = entered.owner.exec(entered.task_id, ["/no/such/program"])
    assert (missing.code, missing.error) == (127, "No such file or directory")
    assert entered.owner.exec(entered.task_id, ["/etc"]).code == 126


def test_signal_is_128_and_its_number(entered: Entered) -> None:
    assert entered.exec("kill -9 $$")[0] == 137


def test_nothing_is_left_of_a_session(entered: Entered) -> None:
    assert entered.exec("setsid sleep 4001 >/dev/null 2>&1 & echo done")[1] == "done\n"
    assert running(entered, "sleep 4001") == ""
    with closing(Session(entered, "sh", "-c", "trap '' HUP TERM; echo up; sleep 4002")) as session:
        session.until(b"up")
        assert running(entered, "sleep 4002")
    wait_until(lambda: not running(entered, "sleep 4002"), "the session's processes are gone")


def test_a_client_that_does_not_read_slows_only_itself(entered: Entered) -> None:
    flood = "i=0; while :; do echo flooding the client with lines that nobody ever reads; done"
    with closing(Session(entered, "sh", "-c", flood)) as session:
        next(session.replies)
        assert entered.exec("echo other")[1] == "other\n"
    wait_until(lambda: not running(entered, "flooding the"), "the flood is over")


def test_session_ends_although_its_command_reads_no_input(entered: Entered) -> None:
    command = ("sh", "-c", "echo up; sleep 4006")
    with closing(Session(entered, *command, pieces=1000)) as session:
        session.until(b"up")
        wait_until(session.is_stuck, "all buffers are full")
        assert running(entered, "sleep 4006")
    wait_until(lambda: not running(entered, "sleep 4006"), "the session's processes are gone")


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"input": bytes(MAX_INPUT + 1)}, "input: must not be longer than 65536 bytes"),
        ({"resize": {"rows": 0, "columns": 80}}, "resize: "),
        ({"signal": "NONE"}, "signal: must be one of "),
        ({"start": {"task_id": "x"}}, "start: must be in the first request, and only there"),
    ],
)
def test_wrong_later_message_is_a_bad_request(
    entered: Entered, wrong: dict[str, Any], rule: str
) -> None:
    rpc = exec_task(entered.task_id, ["sleep", "3600"])

    def messages() -> Iterator[Message]:
        yield rpc.request
        yield ExecTaskRequest(**wrong)

    with pytest.raises(BadRequest) as error:
        list(entered.owner.converse(rpc, messages))
    assert str(error.value).startswith(rule)


def test_it_ends_with_the_task(entered: Entered) -> None:
    task = entered.run("sleep 3600")
    errors: list[Exception] = []

    def stay() -> None:
        try:
            entered.owner.exec(task, ["sh", "-c", "trap '' HUP TERM; echo up; sleep 4003"])
        except Conflict as error:
            errors.append(error)

    staying = threading.Thread(target=stay)
    staying.start()
    wait_until(lambda: "4003" in entered.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", task)[1])
    entered.owner.cancel(task)
    staying.join(SECONDS)
    assert [str(error) for error in errors] == ["The session ended with its task"]


def test_only_the_owner_and_admins_enter(entered: Entered) -> None:
    assert entered.admin.exec(entered.task_id, ["echo", "hi"]).stdout == b"hi\n"
    for other in (entered.client("bob"), entered.client("eve", Role.VIEWER)):
        with other, pytest.raises(Forbidden, match="Only the task's owner or an admin may enter"):
            other.exec(entered.task_id, ["true"])


def test_it_ends_with_the_key(entered: Entered) -> None:
    key = entered.key("ada")
    with entered.owner.__class__(entered.server.grpc, key.secret) as client:
        session = Session(entered, "sh", "-c", "echo up; sleep 4004", client=client)
        with closing(session):
            session.until(b"up")
            entered.revoke(key.key.id)
            with pytest.raises(Unauthorized):
                next(session.replies)
    wait_until(lambda: not running(entered, "sleep 4004"), "the session's processes are gone")


def test_start_and_end_are_audited(entered: Entered) -> None:
    script = "exit 5; " + "ü" * 1000
    entered.exec(script)

    def entries() -> list[dict[str, str]]:
        found = entered.server.json("audit", "--target", entered.task_id, "--limit", "2")
        return list(found["entries"])

    wait_until(lambda: entries()[0]["action"] == "task.exec_end", "the end is audited")
    lines = entries()
    assert lines[1]["action"] == "task.exec"
    assert re.fullmatch(r"after \d+ s: exit code 5", lines[0]["detail"])
    whole = f"sh -c '{script}'".encode()
    shown, _, of_all = lines[1]["detail"].partition("… (")
    assert whole.decode().startswith(shown)
    assert len(shown) == 279
    assert of_all == f"{len(whole)} bytes, SHA-256 {hashlib.sha256(whole).hexdigest()})"
    assert all(line["user_id"] == "ada" for line in lines)


def test_task_that_does_not_run(entered: Entered) -> None:
    done = entered.owner.submit("job", command=["true"])
    entered.owner.wait(done.id)
    with pytest.raises(Conflict, match="The task is completed, and only a running task"):
        entered.owner.exec(done.id, ["true"])


@pytest.mark.parametrize("launcher", ["docker"], indirect=True)
class TestCommand:
    """The command line, once for all."""

    def test_pipes(self, entered: Entered, tmp_path: Path) -> None:
        (tmp_path / "input").write_bytes(ANY_BYTE)
        with (tmp_path / "input").open("rb") as data:
            done = subprocess.run(
                [*FETCHML, "exec", "-i", entered.task_id, "--", "sh", "-c", "cat; exit 9"],
                stdin=data,
                capture_output=True,
                env=environment(**entered.server.variables),
                check=False,
            )
        assert (done.returncode, done.stdout, done.stderr) == (9, ANY_BYTE, b"")

    def test_interrupt_goes_to_the_command(self, entered: Entered) -> None:
        script = "trap 'echo interrupted; exit 3' INT; echo up; while :; do sleep 0.1; done"
        with subprocess.Popen(
            [*FETCHML, "exec", entered.task_id, "--", "sh", "-c", script],
            stdout=subprocess.PIPE,
            env=environment(**entered.server.variables),
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == b"interrupted\n"
        assert process.returncode == 3

    def test_terminal(self, entered: Entered) -> None:
        # A shell may drop what is typed before its prompt.
        script = "stty size; echo $TERM; PS1='ready ' exec sh"
        arguments = ["exec", "-it", entered.task_id, "--", "sh", "-c", script]
        variables = {**entered.server.variables, "TERM": "xterm-mono"}
        with OnTerminal(arguments, variables, columns=91, lines=33) as terminal:
            shown = terminal.until("ready ")
            assert "33 91\n" in shown
            assert "xterm-mono\n" in shown
            terminal.resize(120, 40)
            terminal.type(
                "until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo re''sized\r"
            )
            terminal.until("resized")
            terminal.type("sleep 4005\r")
            wait_until(lambda: running(entered, "sleep 4005"), "it sleeps")
            terminal.type("\x03")
            terminal.type("echo st''opped; exit 4\r")
            terminal.until("stopped")
            terminal.finish()
            assert terminal.process.returncode == 4

    def test_wrong_usage(self, entered: Entered) -> None:
        ran = entered.server.run("exec", "-t", entered.task_id, "sh")
        assert "-t needs a terminal" in ran.err
        assert entered.server.run("exec", entered.task_id, "--", "").code == os.EX_OK + 2
