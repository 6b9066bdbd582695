"""stdin, stdout and stderr, even if the program was started without them (`fetchml serve >&-`).

Python then has `None` for `sys.stdout`, and the next file or socket gets the free descriptor: what
is printed would go to a file or to a client.
"""

import os
import sys

_NAMES = ("stdin", "stdout", "stderr")

missing = set[str]()
"""The streams without which the program was started, for code that distinguishes them from
/dev/null."""


def complete() -> None:
    """Open the missing streams. Call this first in the program; further calls do nothing."""
    for number, name in enumerate(_NAMES):
        if not _is_open(number):
            missing.add(name)
            # It gets the lowest free descriptor, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            _give_python(number, name)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _give_python(number: int, name: str) -> None:
    stream = open(number, "r" if number == 0 else "w", closefd=False)  # noqa: SIM115 - for good
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)
