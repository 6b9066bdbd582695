"""Runs JupyterLab on a node of a cluster, and lets the FetchML server in.

    python3 -IS jupyter_relay.py COMMAND ARG…

The node's own Python runs this file alone, so it needs no more than Python 3.8 without packages.
Jupyter listens on the socket `jupyter.sock` in the attempt's run folder, which is open as RUN and
which no other machine can connect to. This program listens on a TCP port, writes the port's number
into the file `relay` there, and joins each connection with that socket once a TLS handshake has
proved to both ends that the other has the attempt's key. The key comes in a variable, which Jupyter
does not get.
"""

from __future__ import annotations  # Python 3.8 can't evaluate them.

import asyncio
import os
import signal
import socket
import ssl
import sys

KEY = "FETCHML_JUPYTER_KEY"
RUN = 9
"""Descriptor of the run folder."""
SOCKET = f"/proc/self/fd/{RUN}/jupyter.sock"
"""Its real path may have more bytes than that of a socket may."""
MOST_CONNECTIONS = 300
"""More than the server opens to one service."""
MOST_HANDSHAKES = 64
"""Connections whose other end has not proved itself."""
HANDSHAKE_SECONDS = 10.0
CLOSE_SECONDS = 30.0
"""Longest time in which the rest of a reply is passed on after Jupyter has closed."""
BLOCK = 32 << 10
SILENT_SECONDS = 60
"""Time after which a peer that may be gone is asked whether it is there."""
NOT_FOUND = 127
NOT_STARTED = 126


class Relay:
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._connections = asyncio.Semaphore(MOST_CONNECTIONS)
        self._handshakes = asyncio.Semaphore(MOST_HANDSHAKES)
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections without end. Those above a limit wait in the kernel."""
        loop = asyncio.get_running_loop()
        while True:
            await self._connections.acquire()
            await self._handshakes.acquire()
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError:  # The client has disconnected, or too many files are open.
                self._handshakes.release()
                self._connections.release()
                await asyncio.sleep(0.1)
                continue
            task = loop.create_task(self._carry(client))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def _carry(self, client: socket.socket) -> None:
        try:
            try:
                detect_silence(client)
                reader, writer = await self._authenticate(client)
            finally:
                self._handshakes.release()
            try:
                await join(reader, writer)
            finally:
                writer.transport.abort()
        except OSError:
            client.close()
        finally:
            self._connections.release()

    async def _authenticate(
        self, client: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=BLOCK)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            client,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes between the server and Jupyter until one of them closes. Raises OSError."""
    from_jupyter, to_jupyter = await asyncio.open_unix_connection(SOCKET, limit=BLOCK)
    there = asyncio.ensure_future(copy(reader, to_jupyter))
    back = asyncio.ensure_future(copy(from_jupyter, writer))
    try:
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        if back.done():
            writer.close()
            closed = asyncio.ensure_future(writer.wait_closed())
            await asyncio.wait({closed}, timeout=CLOSE_SECONDS)
            closed.cancel()
    finally:
        there.cancel()
        back.cancel()
        to_jupyter.transport.abort()
        await asyncio.gather(there, back, return_exceptions=True)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        block = await reader.read(BLOCK)
        if not block:
            return
        writer.write(block)
        await writer.drain()


def context_of(pem: str) -> ssl.SSLContext:
    """Both ends have the same certificate, and accept no other one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # No session is resumed: each connection has a full handshake.
    context.load_verify_locations(cadata=pem[: pem.index("-----BEGIN PRIVATE KEY")])
    file = os.memfd_create("key")
    try:
        os.write(file, pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    return context


def listen() -> socket.socket:
    """On all addresses of the node, on a port that is free."""
    try:
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
    except OSError:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(("0.0.0.0", 0))  # noqa: S104  # TLS rejects all but the server.
    listener.listen(128)
    listener.setblocking(False)
    return listener


def detect_silence(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENT_SECONDS // 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def record(port: int) -> None:
    """Write the record, which appears whole."""
    draft = f"relay.{os.getpid()}"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=RUN)
    os.write(file, f"port={port}\n".encode())
    os.close(file)
    os.rename(draft, "relay", src_dir_fd=RUN, dst_dir_fd=RUN)


async def run(command: list[str], pem: str) -> int:
    """Return the exit code of Jupyter, or of what kept it from its start."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, lambda: None)  # Jupyter, in the same group, gets it too.
    listener = listen()
    try:
        jupyter = await asyncio.create_subprocess_exec(*command, pass_fds=(RUN,))
    except OSError as error:
        print(f"{command[0]}: {error.strerror} on this node", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED
    record(listener.getsockname()[1])
    serving = loop.create_task(Relay(context_of(pem)).serve(listener))
    ended = loop.create_task(jupyter.wait())
    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():  # It can't let anybody in any more.
        jupyter.terminate()
    code = await ended
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    if code < 0:  # The shim records how this program ends.
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(run(sys.argv[1:], os.environ.pop(KEY))))
