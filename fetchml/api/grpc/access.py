"""AccessService."""
# ruff: noqa: N802  # methods have the RPCs' names

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from fetchml.access.service import PIECE_BYTES, TaskAccess
from fetchml.access.session import ExecSession, Exit, Output
from fetchml.api.grpc.call import RpcContext
from fetchml.api.message_fields import TASK_PORT_LINK
from fetchml.api.proxy.task_ports import OpenedPorts
from fetchml.core.requests.access import SIGNALS, ExecRequest, size_fault
from fetchml.errors import BadRequest, RequestError
from fetchml.v1 import access_pb2, access_pb2_grpc

_START = "start: must be in the first request, and only there"
MAX_INPUT = 64 << 10
"""Bytes of input in one message."""

Requests = AsyncIterator[access_pb2.ExecTaskRequest]


class AccessService(access_pb2_grpc.AccessServiceServicer):
    def __init__(self, access: TaskAccess, ports: OpenedPorts) -> None:
        self._access = access
        self._ports = ports

    async def ExecTask(
        self, requests: Requests, context: RpcContext
    ) -> AsyncIterator[access_pb2.ExecTaskResponse | None]:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "start":
            raise BadRequest(_START)
        start = first.start
        request = ExecRequest(
            tuple(start.command),
            (start.terminal.rows, start.terminal.columns) if start.HasField("terminal") else None,
            *([start.term] if start.term else []),
        )
        async with self._access.exec(context.principal, start.task_id, request) as session:
            yield None
            pump = asyncio.create_task(_pump(requests, session))
            try:
                async with aclosing(session.outputs()) as outputs:
                    async for part in outputs:
                        yield _response(part)
            finally:
                pump.cancel()
                await asyncio.wait([pump])

    async def ForwardPort(
        self, requests: AsyncIterator[access_pb2.ForwardPortRequest], context: RpcContext
    ) -> AsyncIterator[access_pb2.ForwardPortResponse | None]:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "start":
            raise BadRequest(_START)
        start = first.start
        async with self._access.connect(context.principal, start.task_id, start.port) as streams:
            reader, writer = streams
            yield None
            pump = asyncio.create_task(_send(requests, writer))
            try:
                while data := await _read(reader):
                    yield access_pb2.ForwardPortResponse(data=data)
            finally:
                pump.cancel()
                await asyncio.wait([pump])
            if not pump.cancelled() and (error := pump.exception()) is not None:
                raise error

    async def OpenTaskPort(
        self, request: access_pb2.OpenTaskPortRequest, context: RpcContext
    ) -> access_pb2.TaskPortLink:
        link = await self._ports.open(context.principal, request.task_id, request.port)
        return TASK_PORT_LINK.message(link)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(PIECE_BYTES)
    except OSError:  # The task has closed it roughly, or ended.
        return b""


async def _send(
    requests: AsyncIterator[access_pb2.ForwardPortRequest], writer: asyncio.StreamWriter
) -> None:
    """Pass the client's bytes on. A wrong message closes the connection. Raises BadRequest."""
    try:
        async for request in requests:
            if request.WhichOneof("part") != "data" or len(request.data) > MAX_INPUT:
                raise BadRequest(f"data: must be in each later request, at most {MAX_INPUT} bytes")
            writer.write(request.data)
            await writer.drain()
        writer.write_eof()
    except RequestError:
        writer.transport.abort()
        raise
    except OSError:
        pass  # The task has closed its side: the reader reports it.


async def _pump(requests: Requests, session: ExecSession) -> None:
    """Pass the client's messages on. A wrong one cuts the session."""
    try:
        async for request in requests:
            await _pass_on(request, session)
        await session.end_input()
    except RequestError as error:
        await session.cut(error)


async def _pass_on(request: access_pb2.ExecTaskRequest, session: ExecSession) -> None:
    """Raises BadRequest."""
    match request.WhichOneof("part"):
        case "input":
            if len(request.input) > MAX_INPUT:
                raise BadRequest(f"input: must not be longer than {MAX_INPUT} bytes")
            await session.write(request.input)
        case "end_of_input":
            await session.end_input()
        case "resize":
            if fault := size_fault(request.resize.rows, request.resize.columns):
                raise BadRequest(f"resize: {fault}")
            await session.resize(request.resize.rows, request.resize.columns)
        case "signal":
            number = SIGNALS.get(request.signal)
            if number is None:
                raise BadRequest(f"signal: must be one of {', '.join(SIGNALS)}")
            await session.signal(number)
        case "start":
            raise BadRequest(_START)


def _response(part: Output | Exit) -> access_pb2.ExecTaskResponse:
    match part:
        case Exit():
            end = access_pb2.ExecExit(code=part.code, error=part.error)
            return access_pb2.ExecTaskResponse(exit=end)
        case Output(stream="stdout"):
            return access_pb2.ExecTaskResponse(stdout=part.data)
        case Output():
            return access_pb2.ExecTaskResponse(stderr=part.data)
