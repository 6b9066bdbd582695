"""stdin, stdout and stderr, also for whoever started the program without (`fetchml serve >&-`).

Python then has None for `sys.stdout`, and what is opened next gets the number of the missing one:
the output of whatever writes to it would go into a file or to a client.
"""

import os
import sys

_NAMES = ("stdin", "stdout", "stderr")

missing = set[str]()
"""Without which of them the program was started: for whom nothing there is not the same as
/dev/null."""


def complete() -> None:
    """First thing in the program, before anything is opened to stay; again is fine."""
    for number, name in enumerate(_NAMES):
        if not _is_open(number):
            missing.add(name)
            # It takes the lowest number that is free, which is this one.
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
