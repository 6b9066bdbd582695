"""The shim as a helper in a container that runs: an exec of the engine, attached to one
connection.

The engine keeps what the container was created with: user, environment, limits, dropped
capabilities. It has no request that ends an exec. The helper does that itself when its input ends.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fetchml.adapters.docker.engine_http import EngineHttp, EngineRefused, EngineUnavailable
from fetchml.ports.launcher import EnterError

BUFFERED_BYTES = 64 << 10
"""Read ahead from the engine, at most twice this."""
_HEAD_BYTES = 8
_STDOUT = 1
_MOST_BYTES = 1 << 20
"""Of one piece of the engine's; it sends 32 KiB at most."""


class DockerHelper:
    """`Helper` over the connection of an exec."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        # Both streams come in pieces with a head: the stream's number, and the size.
        try:
            while True:
                head = await self._reader.readexactly(_HEAD_BYTES)
                size = int.from_bytes(head[4:])
                if size > _MOST_BYTES:
                    return b""
                piece = await self._reader.readexactly(size)
                if head[0] == _STDOUT and piece:
                    return piece
        except (OSError, EOFError):
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.transport.abort()  # Pending writes would keep it open.


async def exec_helper(
    http: EngineHttp, *, name: str, command: Sequence[str], env: Mapping[str, str]
) -> DockerHelper:
    """Run the helper in a container. Raises EnterError."""
    body = {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": False,
        "Tty": False,
        "Env": [f"{key}={value}" for key, value in env.items()],
        "Cmd": list(command),
    }
    try:
        made = await http.ask("POST", f"/containers/{name}/exec", body=body)
        start = {"Detach": False, "Tty": False}
        return DockerHelper(
            *await http.take_over(f"/exec/{made['Id']}/start", start, limit=BUFFERED_BYTES)
        )
    except EngineRefused as error:
        if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise EnterError("the task's container is not running") from error
        raise EnterError(f"the Docker engine rejected it: {error}") from error
    except EngineUnavailable as error:
        raise EnterError("no response from the Docker engine: try again later") from error
