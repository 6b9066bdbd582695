"""`fetchml exec`"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from queue import Full, Queue
from typing import Any

import click
from google.protobuf.message import Message

from fetchml.cli.connect import server_option, valid_text
from fetchml.cli.errors import ExitCode
from fetchml.client import Client
from fetchml.client.access import PIECE_BYTES, exec_task
from fetchml.v1.access_pb2 import ExecExit, ExecTaskRequest, TerminalSize

WAITING_PIECES = 16
"""Pieces of input that wait to be sent."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("task_id")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--stdin", "-i", is_flag=True, help="Pass stdin to the command.")
@click.option("--tty", "-t", is_flag=True, help="Give the command a terminal.")
@server_option
def exec(  # noqa: A001  # the command's name
    client: Client, task_id: str, command: tuple[str, ...], *, stdin: bool, tty: bool
) -> None:
    """Run a command in a running task.

    The command runs in the task's container, as its user, and within its limits.

    The exit code is that of the command. Ctrl-C goes to the command. Without -t, a second Ctrl-C
    ends the session. The command ends with the session, and the session with the task.

    \b
    Examples:
      fetchml exec TASK_ID -- nvidia-smi
      fetchml exec -it TASK_ID -- bash
      fetchml exec -i TASK_ID -- tar -xf - < more.tar
    """
    if command[0] == "--":
        command = command[1:]
    if not command:
        raise click.UsageError("Missing argument 'COMMAND...'.")
    if tty and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("-t needs a terminal as stdin and stdout: leave it out")
    size = _size() if tty else None
    term = os.environ.get("TERM", "") if tty else ""
    with valid_text():
        rpc = exec_task(task_id, command, terminal=size, term=term)
    requests = _Requests(rpc.request)
    if stdin:
        threading.Thread(target=requests.read_stdin, daemon=True).start()
    else:
        requests.put(ExecTaskRequest(end_of_input=True))
    end = ExecExit(code=ExitCode.FAILED)
    keys = _raw_terminal(requests) if tty else _interrupts(requests)
    with keys, closing(client.converse(rpc, requests.sent)) as replies:
        for reply in replies:
            if reply.HasField("exit"):
                end = reply.exit
            _write(sys.stdout, reply.stdout)
            _write(sys.stderr, reply.stderr)
    requests.put(None)
    if end.error:
        click.echo(f"Error: {command[0]}: {end.error}", err=True)
    sys.exit(end.code)


class _Requests:
    """The messages to the server. Its queue is short, so a command that does not read slows the
    reading of stdin."""

    def __init__(self, first: Message) -> None:
        self._first = first
        self._waiting = Queue[ExecTaskRequest | None](WAITING_PIECES)

    def sent(self) -> Iterator[Message]:
        yield self._first
        while (request := self._waiting.get()) is not None:
            yield request

    def put(self, request: ExecTaskRequest | None) -> None:
        """Does nothing if too much waits: a handler of signals must not wait."""
        with suppress(Full):
            self._waiting.put_nowait(request)

    def read_stdin(self) -> None:
        while data := os.read(sys.stdin.fileno(), PIECE_BYTES):
            self._waiting.put(ExecTaskRequest(input=data))
        self._waiting.put(ExecTaskRequest(end_of_input=True))


@contextmanager
def _interrupts(requests: _Requests) -> Iterator[None]:
    """Send the first Ctrl-C to the command."""

    def pass_on(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        requests.put(ExecTaskRequest(signal="INT"))

    before = signal.signal(signal.SIGINT, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _raw_terminal(requests: _Requests) -> Iterator[None]:
    """Pass every key on as it is, and the size when it changes."""
    try:
        import termios  # noqa: PLC0415  # not everywhere
        import tty  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError("-t is not available on this system: leave it out") from error

    def resized(*_: object) -> None:
        rows, columns = _size()
        requests.put(ExecTaskRequest(resize=TerminalSize(rows=rows, columns=columns)))

    file = sys.stdin.fileno()
    before: Any = termios.tcgetattr(file)
    old = signal.signal(signal.SIGWINCH, resized)
    try:
        tty.setraw(file)
        yield
    finally:
        signal.signal(signal.SIGWINCH, old)
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def _size() -> tuple[int, int]:
    """Return rows and columns."""
    size = os.get_terminal_size(sys.stdout.fileno())
    return max(1, min(1000, size.lines)), max(1, min(1000, size.columns))


def _write(stream: Any, data: bytes) -> None:
    if data:
        stream.buffer.write(data)
        stream.buffer.flush()
