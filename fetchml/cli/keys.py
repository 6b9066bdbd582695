"""`fetchml keys`"""

import asyncio
import functools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.cli.connect import connected, connected_to, json_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.groups import CommandGroup
from fetchml.cli.ids import id_by_end
from fetchml.cli.list_options import Output, output_option, print_list
from fetchml.cli.param_types import Duration
from fetchml.cli.parts import require_server
from fetchml.cli.render import clean, console, local_time, print_json, print_result
from fetchml.cli.settings_options import data_dir_option
from fetchml.cli.tables import FittedTable, table
from fetchml.cli.targets import Target, find_target, read_profiles
from fetchml.client import Rpc, Unreachable, enum_name, to_json
from fetchml.client.connection import CONTROL
from fetchml.config.data_dir import default_data_dir
from fetchml.errors import NotFound, RequestError
from fetchml.files.control_socket import control_socket
from fetchml.v1 import key_pb2
from fetchml.v1.key_pb2 import Key

Reply = TypeVar("Reply")


class KeyServiceCaller:
    """Calls KeyService: of a server elsewhere, or of a data directory on this machine, whether its
    server runs or not."""

    def __init__(self, data_dir: Path, target: Target | None) -> None:
        """`target` is `None` for the data directory."""
        self._data_dir = data_dir
        self._target = target

    def call(self, method: str, request: Message, reply: type[Reply]) -> Reply:
        """Return the reply of KeyService. Raises CommandError."""
        rpc = Rpc(f"KeyService/{method}", request, reply)
        if self._target is not None:
            with connected_to(self._target) as client:
                return client.call(rpc)
        try:
            with (
                control_socket(self._data_dir) as socket,
                connected(f"{CONTROL}{socket}", None) as client,
            ):
                return client.call(rpc)
        except OSError as error:
            raise CommandError(
                f"{self._data_dir} is not a data directory of FetchML: {error.strerror}",
                "Name a data directory with --data-dir, or a server elsewhere with --server.",
            ) from error
        except CommandError as failure:
            if not isinstance(failure.__cause__, Unreachable):
                raise
        return cast("Reply", self._without_server(request))

    def _without_server(self, request: Any) -> Any:
        require_server("'fetchml keys' without a running server")
        # The whole server, which is slow to import and rarely needed here.
        from fetchml.files.data_dir import as_owner  # noqa: PLC0415 - on Linux only
        from fetchml.server import main  # noqa: PLC0415
        from fetchml.server.cannot_start import CannotStart  # noqa: PLC0415

        try:
            with as_owner(self._data_dir):
                return asyncio.run(main.manage_keys(self._data_dir, request))
        except CannotStart as error:
            raise CommandError(str(error)) from error
        except RequestError as error:
            code = ExitCode.NOT_FOUND if isinstance(error, NotFound) else ExitCode.USAGE
            raise CommandError(error.message, code=code) from error


def keys_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--data-dir` and `--server` to a command, and pass it what calls KeyService as `keys`."""

    @data_dir_option("Data directory on this machine. Its server may be running.")
    @click.option(
        "--server",
        metavar="HOST:PORT",
        help="Use a server elsewhere, with an admin's key.",
    )
    @click.option(
        "--profile", metavar="NAME", help="Use the server of this profile, with an admin's key."
    )
    @functools.wraps(command)
    def with_keys(
        data_dir: Path | None, server: str | None, profile: str | None, **options: Any
    ) -> Any:
        return command(keys=_caller(data_dir, server, profile), **options)

    return with_keys


def _caller(data_dir: Path | None, server: str | None, profile: str | None) -> KeyServiceCaller:
    """Return the caller for a server that is named, else for the data directory on this machine;
    for the default profile where there is no such directory."""
    folder = data_dir or default_data_dir()
    if server or profile:
        return KeyServiceCaller(folder, find_target(server, profile))
    if data_dir is None and not folder.exists() and read_profiles().current:
        return KeyServiceCaller(folder, find_target(None, None))
    return KeyServiceCaller(folder, None)


@click.group(cls=CommandGroup)
def keys() -> None:
    """Create, list and revoke API keys.

    On the server's machine, the owner of its data directory needs no key for this.

    \b
    Examples:
      fetchml keys create ada --expires 30d
      fetchml keys revoke KEY_ID
    """


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "user", "admin"]),
    default="user",
    show_default=True,
    help="viewer: read. user: also submit, and manage own tasks. admin: all.",
)
@click.option(
    "--expires", type=Duration(), help="Expire after this time: 12h, 30d. Default: never."
)
@json_option
@keys_options
def create(
    keys: KeyServiceCaller, name: str, role: str, expires: int | None, *, as_json: bool
) -> None:
    """Create a key for the user NAME and print it. It cannot be shown again."""
    request = key_pb2.CreateKeyRequest(name=name, role=role)
    if expires is not None:
        request.expires_at.CopyFrom(Timestamp(seconds=int(time.time()) + expires))
    made = keys.call("CreateKey", request, key_pb2.CreateKeyResponse)
    if as_json:
        print_json(made)
        return
    click.echo(made.secret)
    hints = console(stderr=True)
    if hints.is_terminal:
        hints.print(f"Key {made.key.id} of {name} ({role}). It cannot be shown again.", style="dim")


@keys.command()
@output_option
@keys_options
def ls(keys: KeyServiceCaller, output: Output) -> None:
    """List all keys, oldest first, without their secrets."""
    reply = keys.call("ListKeys", key_pb2.ListKeysRequest(), key_pb2.ListKeysResponse)
    print_list(output, {"keys": [], **to_json(reply)}, reply.keys, lambda: _table(reply.keys))


def _table(keys: Iterable[Key]) -> FittedTable:
    shown = table(
        *("ID", "NAME", "ROLE", "MADE", "LAST USED", "STATE"), spare=("MADE", "LAST USED", "ROLE")
    )
    for key in keys:
        shown.add_row(
            key.id,
            clean(key.name),
            enum_name(key, "role"),
            local_time(key.created_at),
            local_time(key.last_used_at) if key.HasField("last_used_at") else "never",
            state_of(key),
        )
    return shown


def state_of(key: Key) -> str:
    if key.HasField("revoked_at"):
        return f"revoked {local_time(key.revoked_at)}"
    if not key.HasField("expires_at"):
        return "valid"
    over = key.expires_at.seconds <= time.time()
    return f"{'expired' if over else 'valid until'} {local_time(key.expires_at)}"


@keys.command()
@click.argument("key_ids", nargs=-1, required=True)
@json_option
@keys_options
def revoke(keys: KeyServiceCaller, key_ids: tuple[str, ...], *, as_json: bool) -> None:
    """Revoke keys by their ids. They stop working at once."""

    def known() -> Iterable[str]:
        reply = keys.call("ListKeys", key_pb2.ListKeysRequest(), key_pb2.ListKeysResponse)
        return (key.id for key in reply.keys)

    for named in key_ids:
        key_id = id_by_end("key", named, known)
        key = keys.call("RevokeKey", key_pb2.RevokeKeyRequest(key_id=key_id), Key)
        print_result(key, f"{key_id} is revoked", as_json=as_json)
