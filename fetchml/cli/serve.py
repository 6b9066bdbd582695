"""`fetchml serve`"""

import os
import sys
from functools import partial

import click

from fetchml.cli.errors import CommandError
from fetchml.cli.printable import unguarded
from fetchml.cli.settings_options import settings_options
from fetchml.config.settings import Settings
from fetchml.ops import pyinstaller
from fetchml.ports.gpu import GpuState
from fetchml.server import main
from fetchml.server.cannot_start import CannotStart
from fetchml.system import log
from fetchml.views import Finding


def _examine(settings: Settings, gpus: GpuState | None) -> list[Finding]:
    """Import the checks when they are needed: few servers are asked for them."""
    from fetchml.ops.doctor import examine_running  # noqa: PLC0415

    return list(examine_running(settings, gpus))


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
    # The log escapes by itself, once: each submit has a line.
    log.set_up(settings.server.log_format, unguarded(sys.stderr))
    admin_key = os.environ.get("FETCHML_ADMIN_KEY") or None
    if admin_key is not None:
        log.keep_out(admin_key)
    try:
        main.serve(settings, admin_key, partial(_examine, settings))
    except CannotStart as error:
        raise CommandError(f"The server cannot start: {error}") from error
