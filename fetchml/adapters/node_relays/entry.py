"""Enters attempts on the nodes of a cluster, through a relay that the shim starts when the server
asks for it (shim/README.md).

The request and the relay's answer are files of the attempt's folder; connections are TLS with a
certificate of both ends. A server that starts again finds the relays that run: their keys are
derived, and their records stay.
"""

import asyncio
import errno
import hmac
import json
import os
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import Protocol
from weakref import WeakValueDictionary

from fetchml.adapters.node_relays.bridge import Bridges, Streams, frame
from fetchml.adapters.node_relays.connector import connector_to, port_in, read_record, reason_of
from fetchml.adapters.shim_command import helper_command
from fetchml.auth.pinned_certificate import PinnedCertificate, certificate_of
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.attempt_records import request_relay
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import EnterError, Helper, LaunchSpec, RelayCommand, SessionCommand

RECORD = "entry"
BUFFERED_BYTES = 64 << 10
"""Read ahead from a node, at most twice this."""
HANDSHAKE_SECONDS = 10.0
START_SECONDS = 25.0
"""Longest wait for a relay: the shim looks for the request every 10 s, and at once if Slurm passes
the server's signal on."""
ADDRESS_SECONDS = 10.0
"""Longest wait for the node of an attempt."""
POLL_SECONDS = 0.1
"""Interval at which the relay's record, or the node, is read."""
_SERVER_NAME = "fetchml"
"""A name for the handshake, which requires one."""
_SHOWN = 150


class Nodes(Protocol):
    """The nodes that the attempts run on."""

    def address_of(self, task_id: str, attempt: int) -> str | None:
        """See `Cluster`."""

    async def wake(self, run: LaunchSpec) -> None:
        """Let the attempt's shim look for a request of the server soon, if that is possible."""


class NodeHelper:
    """`Helper` at the other end of a connection: it ends with the connection."""

    def __init__(self, streams: Streams) -> None:
        self._reader, self._writer = streams

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


class NodePort(NodeHelper):
    """`RemoteRelay`: lives as long as the attempt, and opens connections to one of its ports."""

    def __init__(self, streams: Streams, connect: Callable[[], Awaitable[socket.socket]]) -> None:
        super().__init__(streams)
        self.connect = connect


class NodeEntries:
    """Used from one event loop."""

    def __init__(
        self,
        disk: SharedDisk,
        nodes: Nodes,
        key: Callable[[], bytes],
        ports: str,
    ) -> None:
        """`key`: reads the key from which those of the relays are derived; raises OSError. `ports`:
        the range for relays, as `LOWEST-HIGHEST`."""
        self._disk = disk
        self._nodes = nodes
        self._key = key
        self._ports = ports
        self._starting = WeakValueDictionary[tuple[str, int], asyncio.Lock]()
        self._bridges = Bridges()

    async def enter(self, run: LaunchSpec, command: SessionCommand | RelayCommand) -> Helper:
        """See `Launcher`."""
        match command:
            case SessionCommand():
                argv = helper_command(PurePosixPath("shim"), command, run_folder=PurePosixPath("/"))
                wanted = json.dumps({"argv": argv, "env": dict(command.env)})
                return NodeHelper(await self._open(run, b"s", wanted.encode()))
            case RelayCommand():
                streams = await self._open(run, b"w")
                return NodePort(streams, partial(self._connect, run, command.port))

    async def close(self) -> None:
        await self._bridges.close()

    async def _connect(self, run: LaunchSpec, port: int) -> socket.socket:
        """Return a connection to a port of the task. Raises OSError."""
        try:
            streams = await self._open(run, b"p", port.to_bytes(2))
        except EnterError as error:
            raise OSError(str(error)) from error
        return self._bridges.open(streams)

    async def _open(self, run: LaunchSpec, kind: bytes, data: bytes = b"") -> Streams:
        """Return a connection that has begun with this request. Raises EnterError."""
        address = await self._address(run)
        try:
            certificate = await self._disk(partial(self._certificate, run))
            tls = certificate.client_context()
            streams = await self._reach(run, address, tls)
            if streams is None:
                lock = self._starting.setdefault((run.task_id, run.attempt), asyncio.Lock())
                async with lock:
                    streams = await self._reach(run, address, tls)
                    if streams is None:
                        await self._start(run, certificate)
                        streams = await self._reach(run, address, tls)
            if streams is None:
                raise EnterError("the relay rejected the connection, or the task has just ended")
            streams[1].write(frame(kind, data))
        except OSError as error:
            raise EnterError(
                f"cannot reach its node ({reason_of(error)}): the "
                f"server must reach ports of {address} ([slurm] relay_ports)"
            ) from error
        return streams

    async def _address(self, run: LaunchSpec) -> str:
        """The start of the command may be known before the cluster names its node. Raises
        EnterError."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ADDRESS_SECONDS):
                while True:
                    address = self._nodes.address_of(run.task_id, run.attempt)
                    if address is not None:
                        return address
                    await asyncio.sleep(POLL_SECONDS)
        raise EnterError("its node is unknown: try again later")

    def _certificate(self, run: LaunchSpec) -> PinnedCertificate:
        """Raises OSError."""
        secret = f"entry {run.task_id} {run.attempt}"
        return certificate_of(hmac.digest(self._key(), secret.encode(), "sha256"))

    async def _reach(self, run: LaunchSpec, address: str, tls: ssl.SSLContext) -> Streams | None:
        """Connect to the relay in the record; `None` if it is not running. Raises OSError."""
        try:
            port = port_in(
                await self._disk(partial(read_record, AttemptFolder(run.folder).run, RECORD))
            )
        except OSError:
            return None
        connector = await connector_to(address, port, tls)
        connection: socket.socket | None = None
        try:
            connection = await connector.connect()
            return await asyncio.open_connection(
                sock=connection,
                ssl=tls,
                server_hostname=_SERVER_NAME,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                limit=BUFFERED_BYTES,
            )
        except (ConnectionError, ssl.SSLError):
            # Nobody listens there any more, or another program does, which may be silent.
            if connection is not None:
                connection.close()
            return None
        except BaseException:
            if connection is not None:
                connection.close()
            raise

    async def _start(self, run: LaunchSpec, certificate: PinnedCertificate) -> None:
        """Let the shim start a relay, and wait for its record. Raises EnterError, OSError."""
        folder, mark = AttemptFolder(run.folder), secrets.token_hex(16)
        wanted = (mark, self._ports, certificate.both)
        await self._disk(lambda: request_relay(folder.control, *wanted, folder.owner()))
        await self._nodes.wake(run)
        record: Mapping[str, str] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while record.get("mark") != mark:
                    await asyncio.sleep(POLL_SECONDS)
                    with suppress(OSError):
                        record = await self._disk(partial(read_record, folder.run, RECORD))
        if "error" in record:
            message = "".join(c for c in record["error"] if c.isprintable())
            raise EnterError(f"cannot start the relay on the node: {message[:_SHOWN]}")
        if record.get("mark") == mark:
            return
        if "port" in record:  # A relay runs, so that the shim has started no other one.
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        raise EnterError(
            "cannot start the relay on its node: the task has just ended, an older release of "
            "FetchML started it, or python3 3.8 or later with OpenSSL was not found"
        )
