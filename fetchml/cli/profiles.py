"""`fetchml login`, `logout` and `profiles`"""

import re
import sys
from pathlib import Path

import click

from fetchml.cli.connect import connected
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.list_options import Output, output_option, print_list
from fetchml.cli.render import clean
from fetchml.cli.tables import FittedTable, table
from fetchml.cli.targets import (
    NAME,
    Profile,
    Profiles,
    named_profile,
    read_profiles,
    write_profiles,
)
from fetchml.client.connection import DEFAULT_SERVER, is_here, port_of, split_address
from fetchml.client.errors import SetupError


@click.command()
@click.option("--use", metavar="NAME", help="Use this profile by default from now on.")
@output_option
def profiles(use: str | None, output: Output) -> None:
    """List the servers that 'fetchml login' stored, without their keys.

    Commands use the default one. --profile or FETCHML_PROFILE choose another one.

    \b
    Example:
      fetchml profiles --use lab
    """
    stored = read_profiles()
    if use is not None:
        named_profile(stored, use)
        stored.current = use
        write_profiles(stored)
        click.echo(f"Profile {use} is used by default.")
        return
    rows = [
        {"name": name, "server": profile.server, "default": name == stored.current}
        for name, profile in sorted(stored.named.items())
    ]
    print_list(output, {"profiles": rows}, rows, lambda: _table(stored), name="name")


def _table(stored: Profiles) -> FittedTable:
    shown = table("NAME", "SERVER", "DEFAULT")
    for name, profile in sorted(stored.named.items()):
        shown.add_row(clean(name), clean(profile.server), "yes" if name == stored.current else "")
    return shown


MAX_KEY_CHARACTERS = 1024


@click.command()
@click.argument("server", metavar="SERVER")
@click.option("--name", metavar="NAME", help="Name of the profile. Default: the server's host.")
@click.option(
    "--tls-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="PEM file with the certificate authorities to trust.",
)
def login(server: str, name: str | None, tls_ca: Path | None) -> None:
    """Store a server and an API key as a profile, and use it from now on.

    SERVER is the gRPC address: HOST, HOST:PORT, or https://HOST:PORT for TLS. Asks for the key, or
    reads it from stdin if that is not a terminal, and checks it. 'fetchml profiles' lists profiles,
    'fetchml logout' removes one.

    \b
    Examples:
      fetchml login https://gpu.example.org:9102
      fetchml login gpu1 --name lab < key.txt
    """
    address = with_port(server)
    name = host_of(address) if name is None else name
    if not NAME.fullmatch(name):
        raise click.UsageError(
            f"{name!r} cannot be the name of a profile: use letters, digits, '.', '_' and '-'. "
            "Choose one with --name."
        )
    profile = Profile(address, ask_for_key(address), str(tls_ca.resolve()) if tls_ca else "")
    with connected(address, profile.key, profile.tls_ca or None) as client:
        client.queue()
    profiles = read_profiles()
    profiles.named[name] = profile
    profiles.current = name
    path = write_profiles(profiles)
    click.echo(f"Logged in to {address}. Profile {name} is stored in {path}, and used by default.")
    if not address.startswith("https://") and not is_here(address):
        click.echo(
            "The connection is not encrypted: the network between can read the key. "
            "docs/security.md describes TLS.",
            err=True,
        )


def with_port(server: str) -> str:
    """Return an address with a port. Raises UsageError."""
    address = server.strip().removesuffix("/")
    try:
        split_address(address)
        if port_of(address) is None:
            address = f"{address}:{port_of(DEFAULT_SERVER)}"
    except SetupError as error:
        raise click.UsageError(f"{error.message}. {error.hint}") from error
    return address


def host_of(address: str) -> str:
    """Return the host of an address in the characters of a profile's name."""
    host = split_address(address)[1].rpartition(":")[0]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", host).strip("-.") or "server"


def ask_for_key(address: str) -> str:
    """Return the key that is typed without echo, or the first line of a pipe."""
    if sys.stdin.isatty():
        key = str(click.prompt(f"API key for {address}", hide_input=True)).strip()
    else:
        key = sys.stdin.readline(MAX_KEY_CHARACTERS).strip()
    if not key:
        raise CommandError(
            "No API key was given",
            "'fetchml keys create NAME', run on the server's machine, creates a key.",
            ExitCode.USAGE,
        )
    return key


@click.command()
@click.argument("name", required=False)
def logout(name: str | None) -> None:
    """Remove a profile with its key: NAME, or the one that is used by default.

    The key stays valid: 'fetchml keys revoke' ends it.
    """
    profiles = read_profiles()
    name = name or profiles.current
    if not name:
        raise CommandError("No profile is used by default", code=ExitCode.USAGE)
    named_profile(profiles, name)
    del profiles.named[name]
    if profiles.current == name:
        profiles.current = ""
    write_profiles(profiles)
    click.echo(f"Profile {name} is removed.")
