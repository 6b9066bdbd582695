"""How a command reaches the server: `--server`, the key, and what failed, in plain words."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fetchml.cli.errors import Exit, Failure
from fetchml.client import (
    BadFolder,
    BadKey,
    BadRequest,
    CallError,
    Client,
    Conflict,
    Forbidden,
    NotFound,
    Options,
    RateLimited,
    SetupError,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from fetchml.client.connection import CONTROL, DEFAULT_SERVER, is_here, port_of
from fetchml.config.settings import default_data_dir
from fetchml.server.control_socket import control_socket, read_address

_EXITS: tuple[tuple[type[Exception], Exit], ...] = (
    (Unavailable, Exit.UNREACHABLE),
    (RateLimited, Exit.UNREACHABLE),
    (Unauthorized, Exit.REFUSED),
    (Forbidden, Exit.REFUSED),
    (BadKey, Exit.REFUSED),
    (NotFound, Exit.NOT_FOUND),
    (Conflict, Exit.CONFLICT),
    (BadRequest, Exit.USAGE),
    (SetupError, Exit.USAGE),
    (BadFolder, Exit.USAGE),
)


_MAX_KEY_BYTES = 1024


@contextmanager
def connected(server: str, key: str | None) -> Iterator[Client]:
    """A client that says at once when a call fails. What it raises inside becomes a Failure."""
    with plain_failures(), Client(server, key or "", options=Options(retries=False)) as client:
        yield client


@contextmanager
def connected_as_found(server: str) -> Iterator[Client]:
    """A client with the key of the environment, else with the admin key of this machine's server.

    The admin key goes through the control socket alone, which only the server's user can have
    made: whatever listens on a loopback port may be anybody's. Raises Failure.
    """
    if own := os.environ.get("FETCHML_API_KEY", "").strip():
        with connected(server, own) as client:
            yield client
        return
    data_dir = _data_dir_here(server)
    key = _admin_key(data_dir)
    if not key:
        with connected(server, None) as client:
            yield client
        return
    _require_its_server(server, data_dir)
    try:
        with (
            control_socket(data_dir) as socket,
            connected(f"{CONTROL}{socket}", key) as client,
        ):
            yield client
    except Failure as failure:
        if isinstance(failure.__cause__, Unreachable):
            message = f"Cannot reach a server at {server}"
            raise Failure(message, failure.hint, Exit.UNREACHABLE) from None
        raise


@contextmanager
def plain_failures() -> Iterator[None]:
    try:
        yield
    except (CallError, SetupError, BadFolder) as error:
        code = next((code for kind, code in _EXITS if isinstance(error, kind)), Exit.FAILED)
        raise Failure(error.message, _hint(error), code) from error


def _hint(error: CallError | SetupError | BadFolder) -> str:
    match error:
        case SetupError() | BadFolder():
            return error.hint
        case Unreachable():
            return (
                "Is it running ('fetchml serve')? Is its address right (--server, "
                "FETCHML_SERVER)? Does it use TLS (https://HOST:PORT, FETCHML_TLS_CA)?"
            )
        case Unavailable():
            return "Try again later."
        case Unauthorized():
            return (
                "Set FETCHML_API_KEY. On the server's machine, 'fetchml keys create NAME' makes a "
                "key."
            )
        case _:
            return ""


def _data_dir_here(server: str) -> Path:
    """The data directory whose server this machine's user means. Raises Failure if the address is
    not one of this machine."""
    with plain_failures():
        here = is_here(server)
    if not here:
        raise Failure(
            f"No API key for the server at {server}",
            "Set FETCHML_API_KEY. There, 'fetchml keys create NAME' makes a key.",
            Exit.REFUSED,
        )
    folder = os.environ.get("FETCHML_DATA_DIR")
    return Path(folder) if folder else default_data_dir()


def _admin_key(data_dir: Path) -> str | None:
    """`None` if this user can't read it, or it is a link, which the server never makes."""
    try:
        fd = os.open(data_dir / "admin.key", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, encoding="utf-8") as file:
            return file.read(_MAX_KEY_BYTES).strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _require_its_server(server: str, data_dir: Path) -> None:
    """Raises Failure if the data directory's server listens elsewhere than at `server`."""
    try:
        address = read_address(data_dir)
    except OSError:
        address = None
    if address is None or port_of(address) == port_of(server):
        return
    raise Failure(
        f"No API key for the server at {server}",
        f"The server on {data_dir} listens at {address}. Set FETCHML_API_KEY, or name that "
        "server's data directory in FETCHML_DATA_DIR.",
        Exit.REFUSED,
    )


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
        with connected_as_found(server) as client:
            return command(client=client, **options)

    return with_client


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
