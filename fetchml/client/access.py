"""The calls that enter running tasks: the first messages, and a command's result."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from google.protobuf.message import Message

from fetchml.client.rpc import Rpc
from fetchml.v1.access_pb2 import (
    ExecStart,
    ExecTaskRequest,
    ExecTaskResponse,
    ForwardPortRequest,
    ForwardPortResponse,
    ForwardStart,
    TerminalSize,
)

PIECE_BYTES = 32 << 10
"""Of input in one message."""


class ExecResult(NamedTuple):
    """A command in a task that has ended."""

    code: int
    """Its exit code; 128 and the number of the signal that ended it."""
    stdout: bytes
    stderr: bytes
    error: str
    """The reason why it did not start; empty if it did."""


def exec_task(
    task_id: str,
    command: Sequence[str],
    *,
    terminal: tuple[int, int] | None = None,
    term: str = "",
) -> Rpc[ExecTaskResponse]:
    """Return the call with its first message. `terminal`: rows and columns."""
    start = ExecStart(task_id=task_id, command=command, term=term)
    if terminal is not None:
        start.terminal.CopyFrom(TerminalSize(rows=terminal[0], columns=terminal[1]))
    request = ExecTaskRequest(start=start)
    return Rpc("AccessService/ExecTask", request, ExecTaskResponse, repeatable=False)


def forward_port(task_id: str, port: int) -> Rpc[ForwardPortResponse]:
    """Return the call with its first message. The later ones have `data`."""
    request = ForwardPortRequest(start=ForwardStart(task_id=task_id, port=port))
    return Rpc("AccessService/ForwardPort", request, ForwardPortResponse, repeatable=False)


def exec_messages(rpc: Rpc[ExecTaskResponse], data: bytes) -> Iterator[Message]:
    """Yield the messages of a command whose whole input is known."""
    yield rpc.request
    for at in range(0, len(data), PIECE_BYTES):
        yield ExecTaskRequest(input=data[at : at + PIECE_BYTES])
    yield ExecTaskRequest(end_of_input=True)
