"""`fetchml serve`"""

import os

import click

from fetchml.cli.errors import CommandError
from fetchml.cli.settings_options import settings_options
from fetchml.config.settings import Settings
from fetchml.ops import pyinstaller
from fetchml.server import main
from fetchml.server.wiring import CannotStart
from fetchml.system import log


@click.command()
@settings_options
def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Running tasks continue without it, and the next start takes them over. The first start creates
    an admin key and shows it once. docs/configuration.md describes all settings.

    \b
    Examples:
      fetchml serve --launcher process
      fetchml serve --config /etc/fetchml.toml
    """
    pyinstaller.leave_group()
    log.set_up(settings.server.log_format)
    admin_key = os.environ.get("FETCHML_ADMIN_KEY") or None
    if admin_key is not None:
        log.keep_out(admin_key)
    try:
        main.serve(settings, admin_key)
    except CannotStart as error:
        raise CommandError(f"The server cannot start: {error}") from error
