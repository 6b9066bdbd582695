"""Connections of commands to the server: `--server`, the API key, and errors as messages."""

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.ids import task_id_of
from fetchml.cli.render import clean, console
from fetchml.cli.targets import Target, find_target
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
from fetchml.config.data_dir import default_data_dir
from fetchml.files.control_socket import control_socket, read_address
from fetchml.files.layout import ADMIN_KEY

_EXITS: tuple[tuple[type[Exception], ExitCode], ...] = (
    (Unavailable, ExitCode.UNREACHABLE),
    (RateLimited, ExitCode.UNREACHABLE),
    (Unauthorized, ExitCode.REFUSED),
    (Forbidden, ExitCode.REFUSED),
    (BadKey, ExitCode.REFUSED),
    (NotFound, ExitCode.NOT_FOUND),
    (Conflict, ExitCode.CONFLICT),
    (BadRequest, ExitCode.USAGE),
    (SetupError, ExitCode.USAGE),
    (BadFolder, ExitCode.USAGE),
)


_MAX_KEY_BYTES = 1024
AWAY_AGAIN_SECONDS = 60
"""Shorter delay between attempts while the server is unavailable."""
CREATE_KEY_HINT = (
    "Run 'fetchml login SERVER', or set FETCHML_API_KEY. 'fetchml keys create NAME', run on the "
    "server's machine, creates a key."
)


@contextmanager
def connected(server: str, key: str | None, tls_ca: str | None = None) -> Iterator[Client]:
    """Yield a client that does not retry. Errors of calls inside become a CommandError."""
    options = Options(retries=False)
    with plain_failures(), Client(server, key or "", tls_ca=tls_ca, options=options) as client:
        yield client


@contextmanager
def connected_to(target: Target) -> Iterator[Client]:
    """Yield a client with the target's key, else with that of this machine's server."""
    with found(target) as at, connected(at.server, at.key, at.tls_ca) as client:
        yield client


@contextmanager
def found(target: Target) -> Iterator[Target]:
    """Yield the address and the key to connect with: the target's, else, without a key, the
    control socket and the admin key of this machine's server.

    The admin key is sent only through the control socket, which only the server's user can have
    created: any user of the machine can listen on a loopback port. Raises CommandError.
    """
    if target.key is not None:
        yield target
        return
    data_dir = _data_dir_here(target.server)
    # Servers run on Linux: elsewhere a loopback address is the end of a tunnel.
    key = _admin_key(data_dir) if sys.platform == "linux" else None
    if not key:
        yield target
        return
    _require_its_server(target.server, data_dir)
    try:
        with control_socket(data_dir) as socket:
            yield Target(f"{CONTROL}{socket}", key)
    except CommandError as failure:
        if isinstance(failure.__cause__, Unreachable):
            message = f"Cannot reach a server at {target.server}"
            raise CommandError(message, failure.hint, ExitCode.UNREACHABLE) from None
        raise


@contextmanager
def valid_text() -> Iterator[None]:
    """Turn protobuf's ValueError, for text that is not UTF-8, into a UsageError."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def plain_failures() -> Iterator[None]:
    """Turn a client's errors into a CommandError, with a hint and an exit code."""
    try:
        yield
    except (CallError, SetupError, BadFolder) as error:
        code = next((code for kind, code in _EXITS if isinstance(error, kind)), ExitCode.FAILED)
        raise CommandError(error.message, _hint(error), code) from error


def _hint(error: CallError | SetupError | BadFolder) -> str:
    match error:
        case SetupError() | BadFolder():
            return error.hint
        case Unreachable():
            return (
                "Check that the server runs ('fetchml serve'), that --server or FETCHML_SERVER "
                "names its gRPC address, and whether it uses TLS (https://HOST:PORT, "
                "FETCHML_TLS_CA)."
            )
        case Unavailable():
            return "Try again later." if error.retry_after else ""
        case Unauthorized():
            return CREATE_KEY_HINT
        case _:
            return ""


def _data_dir_here(server: str) -> Path:
    """Return the data directory of this machine's server.

    Raises CommandError if `server` is not a loopback address.
    """
    with plain_failures():
        here = is_here(server)
    if not here:
        raise CommandError(
            f"No API key for the server at {server}",
            CREATE_KEY_HINT,
            ExitCode.REFUSED,
        )
    folder = os.environ.get("FETCHML_DATA_DIR")
    return Path(folder) if folder else default_data_dir()


def _admin_key(data_dir: Path) -> str | None:
    """Return the admin key; `None` if this user cannot read it.

    A link is not read: the server never creates one.
    """
    try:
        fd = os.open(data_dir / ADMIN_KEY, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, encoding="utf-8") as file:
            return file.read(_MAX_KEY_BYTES).strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _require_its_server(server: str, data_dir: Path) -> None:
    """Raises CommandError if the data directory's server listens elsewhere than at `server`."""
    try:
        address = read_address(data_dir)
    except OSError:
        address = None
    if address is None or port_of(address) == port_of(server):
        return
    raise CommandError(
        f"No API key for the server at {server}",
        f"The server of {data_dir} listens on {address}. Set FETCHML_API_KEY, or set "
        "FETCHML_DATA_DIR to the data directory of the server you mean.",
        ExitCode.REFUSED,
    )


class RetryNotice:
    """Prints a single line on stderr while the server is unavailable, even if the errors differ."""

    def __init__(self) -> None:
        self._last: float | None = None
        """When the last try failed, in seconds; `None` if the server was there since."""

    def __call__(self, why: CallError) -> None:
        now = time.monotonic()
        # A stream may resume without a message: a long time without a failed try shows that too.
        if self._last is None or now - self._last > AWAY_AGAIN_SECONDS:
            console(stderr=True).print(clean(f"{why}; retrying"), style="dim", soft_wrap=True)
        self._last = now

    def restored(self) -> None:
        """Reset: print a line again at the next outage."""
        self._last = None


def patient(client: Client) -> Client:
    """Return a client that retries its calls while the server is unavailable, and prints one line
    then.

    A call is retried until its deadline, unless it must not run twice.
    """
    return client.with_options(retries=True, on_cut=RetryNotice())


def target_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--server` and `--profile` to a command, and pass it the server as `at_server`."""

    @click.option(
        "--server",
        metavar="HOST:PORT",
        help=f"The server's gRPC address; https://HOST:PORT for TLS.  "
        f"[env var: FETCHML_SERVER; default: that of 'fetchml login', else {DEFAULT_SERVER}]",
    )
    @click.option(
        "--profile",
        metavar="NAME",
        help="Use the server and the key of this profile.  [env var: FETCHML_PROFILE]",
    )
    @functools.wraps(command)
    def with_target(server: str | None, profile: str | None, **options: Any) -> Any:
        return command(at_server=find_target(server, profile), **options)

    return with_target


def server_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--server` and `--profile` to a command, and pass it a connected Client as `client`.

    An argument `task_id` becomes the whole id of the task that it names.
    """

    @target_option
    @functools.wraps(command)
    def with_client(at_server: Target, **options: Any) -> Any:
        with connected_to(at_server) as client:
            if named := options.get("task_id"):
                options["task_id"] = task_id_of(client, named)
            return command(client=client, **options)

    return with_client


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
