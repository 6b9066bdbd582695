"""Lets the FetchML server into an attempt on a node of a cluster: to its Jupyter, or to the task.

    python3 -IS node_relay.py jupyter PORTS COMMAND ARG…
    python3 -IS node_relay.py enter

The node's own Python runs this file alone, so it needs no more than Python 3.8 without packages.
The program listens on a TCP port, writes the port's number into a record in the attempt's run
folder, which is open as RUN, and serves each connection once a TLS handshake has proved to both
ends that the other has the attempt's key.

As `jupyter` it runs JupyterLab, with the key in a variable that Jupyter does not get, and joins
each connection with the socket `jupyter.sock` in the run folder, which is for one machine only.

As `enter` it is a child of the shim, with the server's request as stdin and the shim's program open
as SHIM. Each connection begins with a request of its own (shim/README.md).
"""

from __future__ import annotations  # Python 3.8 can't evaluate them.

import asyncio
import errno
import json
import os
import random
import signal
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

KEY = "FETCHML_JUPYTER_KEY"
SHIM, RUN = 8, 9
"""Descriptors: the shim's program, and the run folder."""
SOCKET = f"/proc/self/fd/{RUN}/jupyter.sock"
"""Its real path may have more bytes than that of a socket may."""
MOST_CONNECTIONS = 300
"""More than the server opens to one attempt."""
MOST_HANDSHAKES = 64
"""Connections whose other end has not proved itself."""
HANDSHAKE_SECONDS = 10.0
CLOSE_SECONDS = 30.0
"""Longest time in which the rest of a reply is passed on after its sender has closed."""
UNUSED_SECONDS = 600.0
"""Time without a connection after which `enter` ends: the shim starts it again if it is needed."""
HELPER_SECONDS = 5.0
"""Longest wait for the end of a helper whose input has ended."""
BLOCK = 32 << 10
HEAD_BYTES, MOST_REQUEST = 5, 1 << 20
SILENT_SECONDS = 60
"""Time after which a peer that may be gone is asked whether it is there."""
NOT_STARTED, NOT_FOUND = 126, 127
ALL_PORTS = "0-0"  # The kernel chooses.


class Relay:
    def __init__(self, context: ssl.SSLContext, handle: Handle) -> None:
        """`handle`: serves a connection whose other end has proved itself; may raise OSError and
        EOFError."""
        self._context = context
        self._handle = handle
        self._connections = asyncio.Semaphore(MOST_CONNECTIONS)
        self._handshakes = asyncio.Semaphore(MOST_HANDSHAKES)
        self._open: set[asyncio.Task[None]] = set()
        self.handled = 0
        """Connections that are served now."""
        self.used_at = asyncio.get_event_loop().time()

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
            self.handled += 1
            try:
                await self._handle(reader, writer)
            finally:
                self.handled -= 1
                self.used_at = asyncio.get_event_loop().time()
                writer.transport.abort()
        except (OSError, EOFError):
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
            await close(writer)
    finally:
        there.cancel()
        back.cancel()
        to_jupyter.transport.abort()
        await asyncio.gather(there, back, return_exceptions=True)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection once its other end has what was written."""
    writer.close()
    closed = asyncio.ensure_future(writer.wait_closed())
    await asyncio.wait({closed}, timeout=CLOSE_SECONDS)
    closed.cancel()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        block = await reader.read(BLOCK)
        if not block:
            return
        writer.write(block)
        await writer.drain()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry out the request with which a connection begins. Raises OSError, EOFError."""
    limit = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, writer.transport.abort)
    try:
        kind, data = await read_frame(reader, MOST_REQUEST)
    finally:
        limit.cancel()
    if kind == b"s":
        await run_session(reader, writer, json.loads(data))
    elif kind == b"p":
        await join_port(reader, writer, int.from_bytes(data, "big"))
    elif kind == b"w":
        writer.write(frame(b"h", b"1"))
        await reader.read()


async def run_session(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wanted: dict[str, Any]
) -> None:
    """Run the shim as a helper, and pass its frames. It ends with the connection. Raises OSError,
    EOFError."""
    more = {name.encode(): value.encode() for name, value in wanted["env"].items()}
    helper = await asyncio.create_subprocess_exec(
        *(word.encode() for word in wanted["argv"]),
        executable=f"/proc/{os.getpid()}/fd/{SHIM}",
        env={**os.environb, **more},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    to_helper, from_helper = helper.stdin, helper.stdout
    if to_helper is None or from_helper is None:
        return
    there = asyncio.ensure_future(copy(reader, to_helper))
    back = asyncio.ensure_future(copy(from_helper, writer))
    try:
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        if back.done():
            await close(writer)
    finally:
        there.cancel()
        back.cancel()
        to_helper.transport.abort()
        await asyncio.gather(there, back, return_exceptions=True)
        ended = asyncio.ensure_future(helper.wait())
        await asyncio.wait({ended}, timeout=HELPER_SECONDS)
        if not ended.done():
            helper.kill()
            await ended


async def join_port(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Join the connection with a port of the task, after a byte that is 0 or an `errno`. Each
    direction has an end of its own. Raises OSError, EOFError."""
    try:
        from_task, to_task = await connect_to(port)
    except OSError as error:
        writer.write(bytes([min(error.errno or errno.EIO, 255)]))
        await close(writer)
        return
    writer.write(b"\0")
    there = asyncio.ensure_future(unwrap(reader, to_task))
    back = asyncio.ensure_future(wrap(from_task, writer))
    try:
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_EXCEPTION)
        if back.done() and back.exception() is None:
            await close(writer)
    finally:
        there.cancel()
        back.cancel()
        to_task.transport.abort()
        await asyncio.gather(there, back, return_exceptions=True)


async def connect_to(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError."""
    try:
        return await asyncio.open_connection("127.0.0.1", port, limit=BLOCK)
    except ConnectionRefusedError as refused:
        try:
            return await asyncio.open_connection("::1", port, limit=BLOCK)
        except OSError:  # Also where there is no IPv6.
            raise refused from None


async def unwrap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass the data of frames on until their end. Raises OSError, EOFError."""
    while True:
        kind, data = await read_frame(reader, BLOCK)
        if kind == b"e":
            writer.write_eof()
            return
        writer.write(data)
        await writer.drain()


async def wrap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The opposite of `unwrap`."""
    while True:
        block = await reader.read(BLOCK)
        writer.write(frame(b"d", block) if block else frame(b"e", b""))
        await writer.drain()
        if not block:
            return


def frame(kind: bytes, data: bytes) -> bytes:
    return kind + len(data).to_bytes(4, "big") + data


async def read_frame(reader: asyncio.StreamReader, most: int) -> tuple[bytes, bytes]:
    """Raises OSError, EOFError."""
    head = await reader.readexactly(HEAD_BYTES)
    size = int.from_bytes(head[1:], "big")
    if size > most:
        raise OSError("no frame")
    return head[:1], await reader.readexactly(size)


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


def listen(ports: str = ALL_PORTS) -> socket.socket:
    """On all addresses of the node, on a port of a range (`LOWEST-HIGHEST`) that is free. Raises
    OSError."""
    lowest, highest = map(int, ports.split("-"))
    order = list(range(lowest, highest + 1))
    random.shuffle(order)  # Relays that start together should not collide.
    for port in order[:-1]:
        try:
            return listen_on(port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return listen_on(order[-1])


def listen_on(port: int) -> socket.socket:
    """Raises OSError."""
    try:
        listener = socket.socket(socket.AF_INET6)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise
        listener = socket.socket(socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))  # noqa: S104  # TLS rejects all but the server.
    listener.listen(128)
    listener.setblocking(False)
    return listener


def detect_silence(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENT_SECONDS // 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def record(name: str, text: str) -> None:
    """Write a record, which appears whole."""
    draft = f"{name}.{os.getpid()}"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=RUN)
    os.write(file, text.encode())
    os.close(file)
    os.rename(draft, name, src_dir_fd=RUN, dst_dir_fd=RUN)


async def run_jupyter(ports: str, command: list[str], pem: str) -> int:
    """Return the exit code of Jupyter, or of what kept it from its start."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, lambda: None)  # Jupyter, in the same group, gets it too.
    try:
        listener = listen(ports)
    except OSError as error:
        print(f"no port of {ports} on this node: {error.strerror}", file=sys.stderr)
        return NOT_STARTED
    try:
        jupyter = await asyncio.create_subprocess_exec(*command, pass_fds=(RUN,))
    except OSError as error:
        print(f"{command[0]}: {error.strerror} on this node", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED
    record("relay", f"port={listener.getsockname()[1]}\n")
    serving = loop.create_task(Relay(context_of(pem), join).serve(listener))
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


async def let_in(mark: str, ports: str, pem: str) -> None:
    """Serve until nobody has used it for a while. The end of the task ends it too."""
    try:
        listener = listen(ports)
    except OSError as error:
        record("entry", f"mark={mark}\nerror=no port of {ports} is free: {error.strerror}\n")
        return
    relay = Relay(context_of(pem), answer)
    serving = asyncio.ensure_future(relay.serve(listener))
    record("entry", f"mark={mark}\nport={listener.getsockname()[1]}\n")
    loop = asyncio.get_running_loop()
    while not serving.done():
        await asyncio.wait({serving}, timeout=UNUSED_SECONDS / 4)
        if not relay.handled and loop.time() - relay.used_at >= UNUSED_SECONDS:
            return


def main(use: str, arguments: list[str]) -> int:
    if use == "jupyter":
        return asyncio.run(run_jupyter(arguments[0], arguments[1:], os.environ.pop(KEY)))
    mark, ports, pem = sys.stdin.read().split("\n", 2)
    asyncio.run(let_in(mark, ports, pem))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
