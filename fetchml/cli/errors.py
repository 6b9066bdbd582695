"""Errors of commands: a message, a hint, an exit code."""

from enum import IntEnum
from typing import IO, Any

import click


class ExitCode(IntEnum):
    """Exit codes, as `fetchml --help` lists them."""

    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    INTERRUPTED = 130


class CommandError(click.ClickException):
    """Ends the command. `message` is what is wrong, `hint` what to do."""

    def __init__(self, message: str, hint: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code: int = code  # type: ignore[misc]  # click reads it from the instance too

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"{click.style('Error:', fg='red')} {self.message}", err=True)
        if self.hint:
            click.echo(self.hint, err=True)
