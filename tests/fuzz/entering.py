"""Fuzz targets: the requests and frames of sessions in running tasks."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import msgspec
from google.protobuf.message import DecodeError

from fetchml.access.session import ExecSession, Exit, Output, SessionCut
from fetchml.api.grpc.access import MAX_INPUT, _pass_on
from fetchml.api.ws.shell import _Resize, _ShownMessage
from fetchml.core.requests import text
from fetchml.core.requests.access import SIGNALS, ExecRequest, port_fault, size_fault
from fetchml.errors import RequestError
from fetchml.v1 import access_pb2
from tests.fuzz.target import JSON, NOT_JSON, SURROGATES, WIRE, Target

INVALID = (RequestError, DecodeError)


class _Peer:
    """A helper that sends what it was made with, and takes everything."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.written = bytearray()

    async def read(self) -> bytes:
        return next(self._pieces, b"")

    async def write(self, data: bytes) -> None:
        self.written += data

    async def close(self) -> None:
        self._pieces = iter(())


def exec_message(data: bytes) -> None:
    """Read the first request of `ExecTask`, and the same bytes as a later one."""
    request = access_pb2.ExecTaskRequest.FromString(data)
    start = request.start
    size = (start.terminal.rows, start.terminal.columns) if start.HasField("terminal") else None
    asked = ExecRequest(tuple(start.command), size, *([start.term] if start.term else []))
    if asked.fault() is None:
        assert all(text.is_valid(part) and "\0" not in part for part in asked.command)

    async def later() -> bytes:
        peer = _Peer(())
        await _pass_on(request, ExecSession(peer))
        return bytes(peer.written)

    sent = asyncio.run(later())
    assert len(sent) <= MAX_INPUT + 5
    if sent[:1] == b"s":
        assert sent[5] in SIGNALS.values()


def forward_message(data: bytes) -> None:
    request = access_pb2.ForwardPortRequest.FromString(data)
    if request.WhichOneof("part") == "start" and port_fault(request.start.port) is None:
        assert 1 <= request.start.port < 1 << 16


def exec_frames(data: bytes) -> None:
    """The frames that pass do not depend on how the stream is split into pieces."""
    whole = asyncio.run(_session([data]))
    assert whole == asyncio.run(_session([data[at : at + 1] for at in range(len(data))]))


async def _session(pieces: list[bytes]) -> list[Output | Exit | None]:
    """Return what a session passes on. It ends with `None` if the session was cut."""
    session = ExecSession(_Peer(pieces))
    found: list[Output | Exit | None] = []
    try:
        await session.begin()
        outputs: AsyncIterator[Output | Exit] = session.outputs()
        async for each in outputs:
            found.append(each)
            if isinstance(each, Exit):
                assert 0 <= each.code <= 255
                assert text.is_valid(each.error)
    except SessionCut:
        found.append(None)
    return found


def shell_control(data: bytes) -> None:
    message = msgspec.json.decode(data, type=_Resize | _ShownMessage)
    if isinstance(message, _Resize) and size_fault(message.rows, message.columns) is None:
        assert 1 <= message.rows <= 1000


EXECS = [
    access_pb2.ExecTaskRequest(
        start=access_pb2.ExecStart(
            task_id="a",
            command=["sh", "-c", "x"],
            terminal=access_pb2.TerminalSize(rows=24, columns=80),
            term="xterm",
        )
    ),
    access_pb2.ExecTaskRequest(input=b"abc"),
    access_pb2.ExecTaskRequest(resize=access_pb2.TerminalSize(rows=1, columns=1)),
    access_pb2.ExecTaskRequest(signal="INT"),
    access_pb2.ExecTaskRequest(end_of_input=True),
]

TARGETS: dict[str, Target] = {
    "exec_message": Target(
        exec_message,
        [each.SerializeToString() for each in EXECS],
        [*WIRE, b"KILL"],
        INVALID,
        message=access_pb2.ExecTaskRequest,
    ),
    "forward_message": Target(
        forward_message,
        [
            access_pb2.ForwardPortRequest(
                start=access_pb2.ForwardStart(task_id="a", port=80)
            ).SerializeToString(),
            access_pb2.ForwardPortRequest(data=b"abc").SerializeToString(),
        ],
        WIRE,
        INVALID,
        share=0.3,
        message=access_pb2.ForwardPortRequest,
    ),
    "exec_frames": Target(
        exec_frames,
        [b"h\0\0\0\0o\0\0\0\3abcr\0\0\0\1xa\0\0\0\0x\0\0\0\3\x01no", b"h\0\0\0\0x\0\0\0\1\0"],
        [*SURROGATES, b"h\0\0\0\0", b"o\0\0\0\1", b"x\0\0\0\0", b"x\0\0\0\2", b"\0\1\0\1", b"\xff"],
    ),
    "shell_control": Target(
        shell_control,
        [b'{"type": "resize", "rows": 40, "columns": 120}', b'{"type": "shown", "bytes": 5}'],
        JSON,
        NOT_JSON,
        share=0.3,
        is_json=True,
    ),
}
