"""Ports of running tasks: one relay of the shim for each, while it is used."""

import asyncio
import errno
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Protocol

from fetchml.access.frames import FrameReader, NoFrame
from fetchml.access.limits import PORTS_BY_USER, PORTS_IN_ALL, ConcurrencyLimit
from fetchml.auth.audit import Audit
from fetchml.core.audit import Action
from fetchml.core.model import Principal
from fetchml.errors import Conflict
from fetchml.files import task_sockets
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import Helper, LaunchSpec, RelayCommand, RemoteRelay
from fetchml.system.background import BackgroundWork

LINGER_SECONDS = 60.0
"""Time for which a relay stays without a connection."""
OPEN_SECONDS = 30.0
"""Longest wait for a relay, and for a connection through it."""

Enter = Callable[[LaunchSpec, RelayCommand], Awaitable[Helper]]
_Port = tuple[str, int, int]
"""Task id, attempt, port."""


class Connector(Protocol):
    """Opens connections to a relay."""

    async def connect(self) -> socket.socket:
        """Raises OSError."""

    def close(self) -> None: ...


class PinnedConnector:
    """Connects to a socket of this host."""

    def __init__(self, fd: int) -> None:
        """`fd`: of the socket, opened with O_PATH, which this owns from now on."""
        self._fd: int | None = fd

    async def connect(self) -> socket.socket:
        if self._fd is None:
            raise ConnectionError
        return await task_sockets.connect(f"/proc/self/fd/{self._fd}")

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class RemoteConnector:
    """Connects through a relay on another machine."""

    def __init__(self, relay: RemoteRelay) -> None:
        self._relay: RemoteRelay | None = relay

    async def connect(self) -> socket.socket:
        if self._relay is None:
            raise ConnectionError
        return await self._relay.connect()

    def close(self) -> None:
        self._relay = None


class Relay:
    """One open port of a task."""

    def __init__(self, helper: Helper, connector: Connector, port: int) -> None:
        """`connector`: that to the relay, which owns it."""
        self.helper = helper
        self.port = port
        self.connections = 0
        """Open ones."""
        self.unused_since = asyncio.get_running_loop().time()
        self.callers: dict[str, Principal] = {}
        """Callers that have used it, by key."""
        self._connector = connector

    async def connect(self) -> socket.socket:
        """Return a connection to the port. Raises Conflict."""
        connection: socket.socket | None = None
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                connection = await self._connector.connect()
                state = await asyncio.get_running_loop().sock_recv(connection, 1)
        except OSError as error:  # TimeoutError is one
            if connection is not None:
                connection.close()
            raise Conflict(f"Cannot reach port {self.port} of the task") from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if state == b"\0":
            return connection
        connection.close()
        if state == bytes([errno.ECONNREFUSED]):
            raise Conflict(f"Nothing listens on port {self.port} of the task")
        raise Conflict(f"Cannot reach port {self.port} of the task")

    async def close(self) -> None:
        self._connector.close()
        await self.helper.close()


class Relays:
    """All open ports. Used from one event loop."""

    def __init__(self, enter: Enter, audit: Audit) -> None:
        """`enter` raises Conflict."""
        self._enter = enter
        self._audit = audit
        self._open: dict[_Port, asyncio.Task[Relay]] = {}
        self._background = BackgroundWork()
        self.limit = ConcurrencyLimit("open ports of tasks", PORTS_BY_USER, PORTS_IN_ALL)

    async def find(self, who: Principal, spec: LaunchSpec, port: int) -> Relay:
        """Return the port's relay, which the first caller starts. Raises Conflict, RateLimited,
        Unavailable."""
        key = (spec.task_id, spec.attempt, port)
        opening = self._open.get(key)
        if opening is None:
            opening = self._open[key] = self._background.start(self._start(who, spec, key))
            opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        relay = await asyncio.shield(opening)
        relay.unused_since = asyncio.get_running_loop().time()
        if who.key_id not in relay.callers:
            relay.callers[who.key_id] = who
            await self._audit.done(who, Action.TASK_PORT, spec.task_id, f"port {port}")
        return relay

    async def _start(self, who: Principal, spec: LaunchSpec, key: _Port) -> Relay:
        with ExitStack() as stack:
            stack.callback(self._open.pop, key, None)
            stack.enter_context(self.limit.hold(who))
            relay = await self._make(spec, key[2])
            self._background.start(self._keep(relay, key, stack.pop_all()))
        return relay

    async def _make(self, spec: LaunchSpec, port: int) -> Relay:
        name = f"port-{secrets.token_hex(8)}.sock"
        helper = await self._enter(spec, RelayCommand(name, port))
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                kind, _ = await FrameReader(helper).next()
            if kind == "h":
                if isinstance(helper, RemoteRelay):
                    return Relay(helper, RemoteConnector(helper), port)
                folder = AttemptFolder(spec.folder).run
                return Relay(helper, PinnedConnector(task_sockets.pin_socket(folder, name)), port)
        except (NoFrame, OSError):  # TimeoutError is one
            pass
        except BaseException:
            await helper.close()
            raise
        await helper.close()
        raise Conflict(
            "Cannot reach the task's ports: the task has just ended, or an older release of "
            "FetchML started it"
        )

    async def _keep(self, relay: Relay, key: _Port, resources: ExitStack) -> None:
        """Close it when it was not used for a while, or has ended with the task."""
        loop = asyncio.get_running_loop()
        ended = asyncio.create_task(relay.helper.read())
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=LINGER_SECONDS / 4)
                unused = loop.time() - relay.unused_since
                if relay.connections == 0 and unused >= LINGER_SECONDS:
                    break
        finally:
            resources.close()
            ended.cancel()
            with suppress(asyncio.CancelledError):
                await ended
            for who in relay.callers.values():
                self._audit.done(who, Action.TASK_PORT_END, key[0], f"port {relay.port}")
            await relay.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Close all relays at the end."""
        try:
            yield
        finally:
            await self._background.cancel()
