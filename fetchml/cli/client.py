"""How a command reaches the server: `--server`, the key, and what failed, in plain words."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fetchml.cli.failure import Exit, Failure
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
from fetchml.client.connection import DEFAULT_SERVER, is_here
from fetchml.settings import default_data_dir

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


@contextmanager
def connected(server: str, key: str | None) -> Iterator[Client]:
    """A client that says at once when a call fails. What it raises inside becomes a Failure."""
    with plain_failures(), Client(server, key or "", options=Options(retries=False)) as client:
        yield client


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


def find_key(server: str) -> str | None:
    """The user's key for it: from the environment, else the admin key of a server on this machine.

    That one is for this machine only: it must not go to whatever server an address names. Raises
    Failure.
    """
    if key := os.environ.get("FETCHML_API_KEY"):
        return key.strip()
    with plain_failures():
        here = is_here(server)
    if not here:
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
        with connected(server, find_key(server)) as client:
            return command(client=client, **options)

    return with_client


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
