"""`fetchml profiles`"""

import click

from fetchml.cli.output import Output, output_option, print_list
from fetchml.cli.profile_file import Profiles, read_profiles, write_profiles
from fetchml.cli.render import clean
from fetchml.cli.tables import FittedTable, table
from fetchml.cli.targets import named_profile


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
    known = read_profiles()
    if use is not None:
        named_profile(known, use)
        known.current = use
        write_profiles(known)
        click.echo(f"Profile {use} is used by default.")
        return
    rows = [
        {"name": name, "server": profile.server, "default": name == known.current}
        for name, profile in sorted(known.named.items())
    ]
    print_list(output, {"profiles": rows}, rows, lambda: _table(known), name="name")


def _table(known: Profiles) -> FittedTable:
    shown = table("NAME", "SERVER", "DEFAULT")
    for name, profile in sorted(known.named.items()):
        shown.add_row(clean(name), clean(profile.server), "yes" if name == known.current else "")
    return shown
