"""`fetchml logout`"""

import click

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.profile_file import read_profiles, write_profiles
from fetchml.cli.targets import named_profile


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
