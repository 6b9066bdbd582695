"""The shim as a helper for a task that is a plain process."""

import asyncio
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

BUFFERED_BYTES = 64 << 10
"""Read ahead from the helper, at most twice this."""
_ENDS_SECONDS = 5.0
"""A helper that was closed ends its processes within about two seconds."""


class ProcessHelper:
    """`Helper` over a pair of sockets: it ends as soon as the server closes its own, or is gone."""

    def __init__(
        self,
        child: "subprocess.Popen[bytes]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._child = child
        self._reader = reader
        self._writer = writer

    @property
    def has_ended(self) -> bool:
        return self._child.poll() is not None

    async def read(self) -> bytes:
        try:
            return await self._reader.read(BUFFERED_BYTES)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.transport.abort()  # Pending writes would keep it open.
        try:
            await asyncio.to_thread(self._child.wait, _ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._child.wait, _ENDS_SECONDS)


def start_helper(
    command: Sequence[str], *, executable: Path, cwd: Path, env: Mapping[str, str]
) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """Return the process, and the server's end of its streams. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        child = subprocess.Popen(
            command,
            executable=executable,
            cwd=cwd,
            env=env,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            umask=0o077,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return child, ours


async def attach(child: "subprocess.Popen[bytes]", streams: socket.socket) -> ProcessHelper:
    streams.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=streams, limit=BUFFERED_BYTES)
    return ProcessHelper(child, reader, writer)
