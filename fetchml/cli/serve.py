"""`fetchml serve`"""

import os

import click

from fetchml import app, frozen, logs
from fetchml.cli.failure import Failure
from fetchml.cli.settings import settings_options
from fetchml.parts import CannotStart
from fetchml.settings import Settings


@click.command()
@settings_options
def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or Ctrl-C. Running tasks then go on, and the next start finds
    them.

    The first start makes an admin key and shows it once. docs/configuration.md describes all
    settings.
    """
    frozen.leave_group()
    logs.set_up(settings.server.log_format)
    admin_key = os.environ.get("FETCHML_ADMIN_KEY") or None
    if admin_key is not None:
        logs.keep_out(admin_key)
    try:
        app.serve(settings, admin_key)
    except CannotStart as error:
        raise Failure(f"The server can't start: {error}") from error
