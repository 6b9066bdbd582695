"""Requests to enter a running task: a command beside its own, or one of its ports."""

import re
from collections.abc import Sequence

import msgspec

from fetchml.core.model import Status, Task
from fetchml.core.requests.text import is_valid

MAX_ARGUMENTS = 256
MAX_COMMAND_BYTES = 32 * 1024
MAX_SIZE = 1000
"""Rows and columns of a terminal."""
SIGNALS = {"INT": 2, "QUIT": 3, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15, "HUP": 1}
"""The signals that a session takes, by their names without `SIG`."""
MAX_PORT = 65_535

SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")
"""The shell of the page: bash where the image has it."""

_TERMINAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}", re.ASCII)


class ExecRequest(msgspec.Struct, frozen=True):
    """A command to run in a task."""

    command: tuple[str, ...]
    terminal: tuple[int, int] | None = None
    """Rows and columns of its terminal; `None` for a command without one."""
    term: str = "xterm-256color"
    """Value of TERM where the command has a terminal."""

    def fault(self) -> str | None:
        """Return the fault; `None` if the request is valid."""
        if wrong := _command_fault(self.command):
            return f"command: {wrong}"
        if self.terminal is None:
            return None
        if wrong := size_fault(*self.terminal):
            return wrong
        if not _TERMINAL.fullmatch(self.term):
            return "term: must be the name of a terminal, such as xterm-256color"
        return None


def size_fault(rows: int, columns: int) -> str | None:
    """Return the fault of a terminal's size; `None` if it is valid."""
    if 1 <= rows <= MAX_SIZE and 1 <= columns <= MAX_SIZE:
        return None
    return f"rows, columns: must be between 1 and {MAX_SIZE}"


def port_fault(port: int) -> str | None:
    """Return the fault of a port; `None` if it is valid."""
    return None if 1 <= port <= MAX_PORT else f"port: must be between 1 and {MAX_PORT}"


def enter_fault(task: Task) -> str | None:
    """Return why a task can't be entered now; `None` if it can."""
    if task.status is Status.RUNNING:
        return None
    return f"The task is {task.shown_status}, and only a running task can be entered"


def _command_fault(command: Sequence[str]) -> str | None:
    if not command or not command[0]:
        return "is required: name the program to run"
    if len(command) > MAX_ARGUMENTS:
        return f"must not have more than {MAX_ARGUMENTS} arguments"
    if not all(is_valid(part) and "\0" not in part for part in command):
        return "must be valid Unicode without NUL"
    if sum(len(part.encode()) for part in command) > MAX_COMMAND_BYTES:
        return f"must not be longer than {MAX_COMMAND_BYTES} bytes"
    return None
