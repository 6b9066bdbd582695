"""`fetchml secret`"""

import sys
from collections.abc import Iterable
from typing import BinaryIO

import click

from fetchml.cli.connect import json_option, server_option, valid_text
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.groups import CommandGroup
from fetchml.cli.list_options import Output, output_option, print_list
from fetchml.cli.render import clean, local_time, print_result
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, to_json
from fetchml.v1.secret_pb2 import Secret

MOST_BYTES = 64 * 1024
"""The server's limit of a value."""


@click.group(cls=CommandGroup)
def secret() -> None:
    """Keep tokens and passwords on the server for your tasks.

    A task gets a secret as a variable, or as a file in /secrets. The server encrypts the values and
    never returns them.

    \b
    Examples:
      fetchml secret set HF_TOKEN                 asks for the value
      fetchml secret set SSH_KEY --file id_ed25519
      fetchml submit --secret HF_TOKEN --secret SSH_KEY:file -- python train.py
    """


@secret.command("set")
@click.argument("name")
@click.option(
    "--file",
    "-f",
    "file",
    type=click.File("rb"),
    help="Read the value from this file. Default: standard input, or a prompt in a terminal.",
)
@click.option(
    "--trim", is_flag=True, help="Leave out the line end at the end of the value, if there is one."
)
@json_option
@server_option
def set_one(client: Client, name: str, file: BinaryIO | None, *, trim: bool, as_json: bool) -> None:
    """Create the secret NAME, or replace its value.

    The value is never an argument: other users of this machine can read the arguments of commands.
    """
    value = _value(name, file, trim=trim)
    with valid_text():
        done = client.set_secret(name, value)
    print_result(done, f"{clean(name)} is set", as_json=as_json)


def _value(name: str, file: BinaryIO | None, *, trim: bool) -> str:
    """Raises CommandError."""
    if file is None and sys.stdin.isatty():
        value: str = click.prompt(f"Value of {name}", hide_input=True, err=True)
        return value
    data = (sys.stdin.buffer if file is None else file).read(MOST_BYTES + 2)
    try:
        value = data.decode()
    except UnicodeDecodeError:
        raise CommandError(
            "The value is not valid UTF-8",
            "Encode it, with base64 for example, and let the task decode it.",
            code=ExitCode.USAGE,
        ) from None
    if trim:
        return value.removesuffix("\n").removesuffix("\r")
    if value.endswith("\n"):
        click.echo(
            "Warning: the value ends with a line end, which is kept. Leave it out with --trim.",
            err=True,
        )
    return value


@secret.command()
@click.option("--user", "user_id", metavar="NAME", default="", help="Of this user; for admins.")
@output_option
@server_option
def ls(client: Client, user_id: str, output: Output) -> None:
    """List your secrets, without their values."""
    secrets = client.secrets(user_id=user_id)
    whole = {"secrets": [to_json(each) for each in secrets]}
    print_list(output, whole, secrets, lambda: _table(secrets))


def _table(secrets: Iterable[Secret]) -> FittedTable:
    shown = table("NAME", "MADE", "SET", spare=("MADE",))
    for each in secrets:
        shown.add_row(clean(each.name), local_time(each.created_at), local_time(each.updated_at))
    return shown


@secret.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--user", "user_id", metavar="NAME", default="", help="Of this user; for admins.")
@server_option
def rm(client: Client, names: tuple[str, ...], user_id: str) -> None:
    """Remove secrets. Tasks that name them and start later fail."""
    for name in names:
        with valid_text():
            client.delete_secret(name, user_id=user_id)
        click.echo(f"{clean(name)} is removed")
