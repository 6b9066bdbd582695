"""Opening links that hold a secret in a browser of this machine."""

import contextlib
import os
import webbrowser
from html import escape
from pathlib import Path

from fetchml.cli.errors import CommandError

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
