"""Acting on several tasks, one after the other."""

from collections.abc import Callable, Iterable

from fetchml.cli.connect import plain_failures
from fetchml.cli.errors import CommandError
from fetchml.client import Unauthorized, Unreachable

_EVERY_TIME = (Unauthorized, Unreachable)
"""Failures that every further call would have."""


def for_each(named: Iterable[str], act: Callable[[str], None]) -> int:
    """Call `act` for each task, going on after a failure, which is shown. Return the exit code of
    the first failure, 0 without one. Raises CommandError if the server can't be reached or rejects
    the key."""
    code = 0
    for each in named:
        try:
            with plain_failures():
                act(each)
        except CommandError as error:
            if isinstance(error.__cause__, _EVERY_TIME):
                raise
            error.show()
            code = code or error.exit_code
    return code
