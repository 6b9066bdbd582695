"""`fetchml ui`, and links opened in a browser"""

import contextlib
import os
import webbrowser
from html import escape
from pathlib import Path

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import CommandError
from fetchml.cli.render import console, print_result
from fetchml.client import Client, Rpc
from fetchml.v1 import key_pb2

_PAGE = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}">\n'
_HELP = "Open the link above in a browser."


def open_link(url: str) -> None:
    """Open a link, which the command has printed. Raises CommandError."""
    if not webbrowser.open(_redirect_to(url).as_uri()):
        raise CommandError("No browser could be opened here", _HELP)


def _redirect_to(url: str) -> Path:
    """Write a file, readable by this user only, that leads a browser to the link. Any user of the
    machine can read the arguments of a browser's process. Raises CommandError."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or Path.home() / ".cache" / "fetchml")
    file = folder / "fetchml-link.html"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            out.write(_PAGE.format(url=escape(url)))
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}", _HELP) from error
    return file


@click.command()
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser here.")
@server_option
@json_option
def ui(client: Client, *, opens: bool, as_json: bool) -> None:
    """Print a link that signs a browser in to the page, with the key of this command.

    The link works once, for two minutes. The page shows the account and asks before it signs in.
    From another machine, run it on the server's machine, through
    'ssh -L 9101:127.0.0.1:9101 HOST'.

    \b
    Examples:
      fetchml ui
      fetchml ui --open
    """
    request = key_pb2.CreateSignInCodeRequest()
    method = "KeyService/CreateSignInCode"
    made = client.call(Rpc(method, request, key_pb2.CreateSignInCodeResponse, repeatable=False))
    print_result(made, made.url, as_json=as_json)
    hints = console(stderr=True)
    if hints.is_terminal:
        hints.print("It signs in once, within two minutes.", style="dim")
    if opens:
        open_link(made.url)
