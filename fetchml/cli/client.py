"""The connection to the server: address, key, and errors in plain words."""

import functools
import os
import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import click
import grpc

from fetchml.cli.failure import Exit, Failure
from fetchml.config import default_data_dir
from fetchml.v1 import (
    audit_pb2_grpc,
    experiment_pb2_grpc,
    gpu_pb2_grpc,
    jupyter_pb2_grpc,
    key_pb2_grpc,
    queue_pb2_grpc,
    snapshot_pb2_grpc,
    task_pb2_grpc,
)

DEFAULT_SERVER = "127.0.0.1:9102"
CONTROL = "unix:"
"""Before the path of the control socket, which only this machine's owner may use."""
TIMEOUT_SECONDS = 30

_OPTIONS = (
    # A quiet stream whose server vanished without a word ends after a minute.
    ("grpc.keepalive_time_ms", 40_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_receive_message_length", -1),
    # A proxy for the web is not one for a training machine.
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Client:
    """Stubs of all services, whose calls carry the key and raise Failure."""

    def __init__(self, server: str, key: str | None) -> None:
        if key and not (key.isascii() and key.isprintable()):
            raise Failure(
                "The API key has characters that no key has",
                "Look at FETCHML_API_KEY: did a line break or a quote get into it?",
                Exit.REFUSED,
            )
        self.server = server
        self._metadata = (("x-api-key", key),) if key else ()
        self._channel = _channel(server)
        # Generated code has no types.
        stubs: Any = (
            task_pb2_grpc,
            queue_pb2_grpc,
            key_pb2_grpc,
            audit_pb2_grpc,
            experiment_pb2_grpc,
            snapshot_pb2_grpc,
            jupyter_pb2_grpc,
            gpu_pb2_grpc,
        )
        self.tasks: Any = stubs[0].TaskServiceStub(self._channel)
        self.queue: Any = stubs[1].QueueServiceStub(self._channel)
        self.keys: Any = stubs[2].KeyServiceStub(self._channel)
        self.audit: Any = stubs[3].AuditServiceStub(self._channel)
        self.experiments: Any = stubs[4].ExperimentServiceStub(self._channel)
        self.snapshots: Any = stubs[5].SnapshotServiceStub(self._channel)
        self.jupyter: Any = stubs[6].JupyterServiceStub(self._channel)
        self.gpus: Any = stubs[7].GpuServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(self, method: Any, request: object) -> Any:
        try:
            return method(request, metadata=self._metadata, timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise self._failure(error) from error

    def send(self, method: Any, requests: Iterator[object]) -> Any:
        """A stream of requests, however long it takes."""
        try:
            return method(requests, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failure(error) from error

    def stream(self, method: Any, request: object) -> Iterator[Any]:
        """The messages of a stream; closing the iterator ends the call."""
        messages = method(request, metadata=self._metadata)
        try:
            yield from messages
        except grpc.RpcError as error:
            raise self._failure(error) from error
        finally:
            messages.cancel()

    def _failure(self, error: Any) -> Failure:
        code, said = error.code(), error.details() or ""
        answered = any(name == "x-trace-id" for name, _ in error.trailing_metadata() or ())
        match code:
            case grpc.StatusCode.UNAVAILABLE if not answered:
                return Failure(
                    f"Cannot reach a server at {self.server}",
                    "Is it running ('fetchml serve')? Is its address right (--server, "
                    "FETCHML_SERVER)? Does it use TLS (https://HOST:PORT, FETCHML_TLS_CA)?",
                    Exit.UNREACHABLE,
                )
            case grpc.StatusCode.UNAVAILABLE:
                return Failure(said, "Try again later.", Exit.UNREACHABLE)
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return Failure(said, code=Exit.UNREACHABLE)
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return Failure(
                    f"The server at {self.server} did not answer within {TIMEOUT_SECONDS} s",
                    code=Exit.UNREACHABLE,
                )
            case grpc.StatusCode.UNAUTHENTICATED:
                return Failure(
                    said if self._metadata else "The server asks for an API key",
                    "Set FETCHML_API_KEY. On the server's machine, 'fetchml keys create NAME' "
                    "makes a key.",
                    Exit.REFUSED,
                )
            case grpc.StatusCode.PERMISSION_DENIED:
                return Failure(said, code=Exit.REFUSED)
            case grpc.StatusCode.NOT_FOUND:
                return Failure(said, code=Exit.NOT_FOUND)
            case grpc.StatusCode.INVALID_ARGUMENT:
                return Failure(said, code=Exit.USAGE)
            case grpc.StatusCode.FAILED_PRECONDITION:
                return Failure(said, code=Exit.CONFLICT)
            case _:
                return Failure(f"{said or 'The call failed'} ({code.name})")


def _split(server: str) -> tuple[bool, str]:
    """Whether TLS is wanted (`https://HOST:PORT`), and HOST:PORT. Raises Failure."""
    scheme, separator, address = server.strip().rpartition("://")
    address = address.removesuffix("/")
    if not address or "/" in address or (separator and scheme not in {"http", "https"}):
        raise Failure(
            f"{server!r} is no address of a server",
            "Give HOST:PORT, or https://HOST:PORT for a server with TLS.",
            Exit.USAGE,
        )
    return scheme == "https", address


def _channel(server: str) -> grpc.Channel:
    """Raises Failure."""
    if server.startswith(CONTROL):
        return grpc.insecure_channel(server, _OPTIONS)
    with_tls, address = _split(server)
    if not with_tls:
        return grpc.insecure_channel(address, _OPTIONS)
    file, roots = os.environ.get("FETCHML_TLS_CA"), None
    if file:
        try:
            roots = Path(file).read_bytes()
        except OSError as error:
            raise Failure(
                f"FETCHML_TLS_CA: cannot read {file}: {error.strerror}", code=Exit.USAGE
            ) from error
        if b"-----BEGIN CERTIFICATE-----" not in roots:
            raise Failure(f"FETCHML_TLS_CA: {file} holds no certificate in PEM", code=Exit.USAGE)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), _OPTIONS)


def find_key(server: str) -> str | None:
    """The user's key for it: from the environment, else the admin key of a server on this machine.

    That one is for this machine only: it must not go to whatever server an address names. Raises
    Failure.
    """
    if key := os.environ.get("FETCHML_API_KEY"):
        return key.strip()
    if not is_here(server):
        raise Failure(
            f"No API key for the server at {server}",
            "Set FETCHML_API_KEY. There, 'fetchml keys create NAME' makes a key.",
            Exit.REFUSED,
        )
    folder = os.environ.get("FETCHML_DATA_DIR")
    file = (Path(folder) if folder else default_data_dir()) / "admin.key"
    try:
        return file.read_text().strip() or None
    except OSError:
        return None


def is_here(server: str) -> bool:
    """Whether the server's address is a loopback one. Raises Failure if it is none at all."""
    named = re.fullmatch(r"(?:\[(.+)\]|([^:]+))(?::[0-9]+)?", _split(server)[1])
    host = (named[1] or named[2]) if named else ""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def server_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--server`; the command is called with a connected Client as `client`."""

    @click.option(
        "--server",
        envvar="FETCHML_SERVER",
        default=DEFAULT_SERVER,
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT",
        help="The server's gRPC address; https://HOST:PORT for one with TLS.",
    )
    @functools.wraps(command)
    def with_client(server: str, **options: Any) -> Any:
        with Client(server, find_key(server)) as client:
            return command(client=client, **options)

    return with_client


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
