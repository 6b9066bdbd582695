"""A command on a terminal of a chosen size."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from tests.support.cli_server import FETCHML, environment
from tests.support.waiting import SECONDS

ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78])"
)


class OnTerminal:
    """`fetchml ARGUMENTS`, or another program, on a terminal. It ends with the `with` block."""

    def __init__(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        *,
        columns: int = 80,
        lines: int = 24,
        program: Sequence[str] = FETCHML,
    ) -> None:
        self._command = [*program, *arguments]
        self._size = (lines, columns)
        self._variables = {"TERM": "xterm", **variables}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.shown = ""
        """All that was written, with escape sequences."""

    def __enter__(self) -> "OnTerminal":
        self._ours, theirs = pty.openpty()
        self._resize(theirs)
        variables = environment(**self._variables)
        for name in ("COLUMNS", "LINES"):
            variables.pop(name, None)
        self.process = subprocess.Popen(
            self._command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=variables,
            start_new_session=True,
        )
        os.close(theirs)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _resize(self, descriptor: int) -> None:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, and report that to the command as a terminal does."""
        self._size = (lines, columns)
        self._resize(self._ours)
        self.process.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def _read(self) -> None:
        # A read may end within a character.
        self.shown += self._decoder.decode(os.read(self._ours, 65_536))

    def until(self, wanted: str) -> str:
        """Return what was written since the last call, up to a text in it, without escapes."""
        give_up = time.monotonic() + SECONDS
        begin = len(self.shown)
        while wanted not in (text := plain(self.shown[begin:])):
            left = give_up - time.monotonic()
            assert left > 0, f"no {wanted!r} in {self.shown[begin:]!r}"
            if select.select([self._ours], [], [], left)[0]:
                self._read()
        return text

    def finish(self) -> str:
        """Return everything that is shown, without escapes, once the command has ended."""
        give_up = time.monotonic() + SECONDS
        while select.select([self._ours], [], [], max(0.0, give_up - time.monotonic()))[0]:
            try:
                self._read()
            except OSError:  # EIO: the other side is closed
                self.process.wait(SECONDS)
                return plain(self.shown)
        raise AssertionError(f"it did not end; shown so far: {self.shown!r}")


def plain(text: str) -> str:
    """Return text without escape sequences. A carriage return begins another line."""
    return re.sub(r"\r\n?", "\n", ESCAPES.sub("", text))


def run_on_terminal(
    arguments: Sequence[str], variables: Mapping[str, str], *, columns: int = 80
) -> str:
    """Return the text on the terminal of a command that ends by itself."""
    with OnTerminal(arguments, variables, columns=columns) as terminal:
        return terminal.finish()
