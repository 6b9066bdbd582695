"""The way to one running Jupyter: the socket that it listens on, in a folder that its container
may fill with anything.

What is connected to is that very socket: the name in the folder is looked up once, no link is
followed, and whatever takes the name's place later is not asked.
"""

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from aiohttp import ClientTimeout
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

SOCKET = "jupyter.sock"
"""Its name in the run folder of an attempt."""
READ_BYTES = 32 << 10
"""Of a reply that are read ahead; what comes in one go is kept beside that."""
_CONNECT_TRIES = 20
_CONNECT_PAUSE_SECONDS = 0.05
"""While more wait to be accepted than the listener lets wait."""


class JupyterLink:
    """Used from one event loop. To be closed by who has opened it; connections live on then."""

    def __init__(self, fd: int, service_id: str, token: str) -> None:
        """`fd`: of the socket's name, opened with O_PATH; this is its owner now."""
        self._fd: int | None = fd
        self.service_id = service_id
        self.token = token

    @classmethod
    def open(cls, run_folder: Path, service_id: str, token: str) -> "JupyterLink":
        """Raises OSError: there is no socket (yet), or something that is none."""
        with _folder(run_folder) as folder:
            fd = os.open(SOCKET, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(f"{SOCKET} is no socket")
        return cls(fd, service_id, token)

    @property
    def base_path(self) -> str:
        return f"/jupyter/{self.service_id}/"

    @property
    def path(self) -> str:
        """What a client connects to, at once: after `close` the number may name another file.

        Raises OSError when the link is closed.
        """
        if self._fd is None:
            raise OSError("the link is closed")
        return f"/proc/self/fd/{self._fd}"

    async def connect(self) -> socket.socket:
        """A new connection. Raises OSError."""
        for _ in range(_CONNECT_TRIES):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.setblocking(False)
                connection.connect(self.path)
            except BlockingIOError:
                connection.close()
                await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
            except OSError:
                connection.close()
                raise
            else:
                return connection
        raise TimeoutError("it accepts no connection")

    def close(self) -> None:
        """Again is fine."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def session(self, *, answer_seconds: float) -> aiohttp.ClientSession:
        """A client that reaches nothing but this Jupyter, whatever the URL says.

        It keeps no cookie and unpacks nothing. Each request has a connection of its own: nothing
        that is left of one reply can be taken for the next. `answer_seconds`: without a byte for
        so long a reply is given up.
        """
        return aiohttp.ClientSession(
            connector=_LinkConnector(self),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=answer_seconds),
            read_bufsize=READ_BYTES,
        )


class _LinkConnector(aiohttp.BaseConnector):
    def __init__(self, link: JupyterLink) -> None:
        super().__init__(force_close=True, limit=0)
        self._link = link

    async def _create_connection(
        self,
        req: "ClientRequest",
        traces: list["Trace"],
        timeout: "ClientTimeout",  # noqa: ASYNC109 - aiohttp's own signature
    ) -> ResponseHandler:
        connection = None
        try:
            connection = await self._link.connect()
            _, protocol = await self._loop.create_unix_connection(self._factory, sock=connection)
        except OSError as error:
            if connection is not None:
                connection.close()
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
