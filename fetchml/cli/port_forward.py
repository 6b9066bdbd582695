"""`fetchml port-forward`"""

import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import click
from google.protobuf.message import Message

from fetchml.cli.connect import server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.client import CallError, Client, Task, status_name
from fetchml.client.access import PIECE_BYTES, forward_port
from fetchml.v1.access_pb2 import ForwardPortRequest


class _Ports(click.ParamType[tuple[int, int]]):
    """LOCAL:PORT, or PORT for the same one on both sides."""

    name = "[LOCAL:]PORT"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        match = re.fullmatch(r"(?:([0-9]{1,9}):)?([0-9]{1,9})", value)
        if match is None:
            self.fail(f"{value!r} is not PORT or LOCAL:PORT, such as 8080:6006", param, ctx)
        port = int(match[2])
        local = port if match[1] is None else int(match[1])
        if not (1 <= port <= 65_535 and local <= 65_535):
            self.fail(f"{value!r}: a port is 1 to 65535; LOCAL may be 0", param, ctx)
        return local, port


@click.command("port-forward")
@click.argument("task_id")
@click.argument("ports", nargs=-1, required=True, type=_Ports())
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Listen at this address. Everyone who reaches it reaches the port.",
)
@server_option
def port_forward(
    client: Client, task_id: str, ports: tuple[tuple[int, int], ...], *, address: str
) -> None:
    """Reach TCP ports of a running task from this machine, such as that of TensorBoard.

    The program in the task may listen on its loopback address only. With LOCAL 0 the command
    chooses a free port. Ctrl-C ends the command and its connections.

    Open the printed link in a browser: its host belongs to this port of the task, so what the
    program serves shares no cookies with other pages of this machine. Other programs connect to the
    address behind it.

    \b
    Examples:
      fetchml port-forward TASK_ID 6006
      fetchml port-forward TASK_ID 8080:80 6006
    """
    task = client.get(task_id)
    if task.status != Task.running:
        raise CommandError(
            f"The task is {status_name(task)}, and only a running task has ports",
            code=ExitCode.CONFLICT,
        )
    listeners = []
    for local, port in ports:
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.create_server((address, local), family=family)
        except OSError as error:
            raise CommandError(
                f"Cannot listen at {address}:{local}: {error.strerror or error}",
                f"Give another port of this machine: 0:{port} chooses one.",
            ) from error
        host, chosen = listener.getsockname()[:2]
        click.echo(_line(host, chosen, task_id, port))
        listeners.append((listener, port))
    sys.stdout.flush()
    for listener, port in listeners[1:]:
        threading.Thread(target=_serve, args=(client, listener, task_id, port), daemon=True).start()
    _serve(client, *listeners[0][:1], task_id, listeners[0][1])


def _line(host: str, local: int, task_id: str, port: int) -> str:
    address = f"[{host}]:{local}" if ":" in host else f"{host}:{local}"
    if host not in ("127.0.0.1", "::1"):
        return f"http://{address} is port {port} of {task_id}"
    # Browsers send the cookies of a host to all of its ports, and resolve names below localhost.
    own = f"{task_id}-{port}.localhost:{local}"
    return f"http://{own} is port {port} of {task_id}, for programs at {address}"


def _serve(client: Client, listener: socket.socket, task_id: str, port: int) -> None:
    while True:
        connection, _ = listener.accept()
        arguments = (client, connection, task_id, port)
        threading.Thread(target=_forward, args=arguments, daemon=True).start()


def _forward(client: Client, connection: socket.socket, task_id: str, port: int) -> None:
    """Join a connection with one to the task. Its failure ends only itself."""
    rpc = forward_port(task_id, port)

    def messages() -> Iterator[Message]:
        yield rpc.request
        try:
            while data := connection.recv(PIECE_BYTES):
                yield ForwardPortRequest(data=data)
        except OSError:
            return

    try:
        with closing(client.converse(rpc, messages)) as replies:
            for reply in replies:
                connection.sendall(reply.data)
    except CallError as error:
        click.echo(f"Error: {error.message}", err=True)
    except OSError:
        pass  # The client has disconnected.
    finally:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # Wakes `messages` too.
        connection.close()
