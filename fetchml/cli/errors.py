"""Errors of commands: a message, a hint, an exit code."""

import os
import shutil
import sys
import textwrap
from enum import IntEnum
from typing import IO, Any

import click

from fetchml.cli.printable import LAYOUT, printable, unguarded


class ExitCode(IntEnum):
    """Exit codes, as `fetchml --help` lists them."""

    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    DIFFERENT = 7
    """Of `reproduce`: the results differ."""
    OWN_FAILURE = 125
    """Of `submit --wait`: the failure is not the exit code of a task."""
    INTERRUPTED = 130


class CommandError(click.ClickException):
    """Ends the command. `message` is the fault, `hint` the remedy."""

    def __init__(self, message: str, hint: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code: int = code  # type: ignore[misc]  # click reads it from the instance too

    def show(self, file: IO[Any] | None = None) -> None:
        word = "Error:" if wants_no_colour() else click.style("Error:", fg="red")
        message = printable(self.message, LAYOUT)
        click.echo(_wrapped(f"{word} {message}"), file=unguarded(sys.stderr))
        if self.hint:
            click.echo(_wrapped(self.hint), err=True)


def show(error: click.ClickException) -> None:
    """Print an error on stderr, wrapped at words. click would break its usage errors anywhere."""
    if isinstance(error, click.UsageError):
        text = _wrapped(f"Error: {error.format_message()}").removeprefix("Error: ")
        error.format_message = lambda: text  # type: ignore[method-assign]
    error.show()


def wants_no_colour() -> bool:
    """Return whether NO_COLOR is set, or the terminal cannot show colours."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def _wrapped(text: str) -> str:
    """Wrap text at words on a terminal. Elsewhere a message stays on one line."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


def reason(error: Exception) -> str:
    """Return the message of an error; for an OSError without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
