"""How many connections each address may hold open at a time, and all addresses together."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from fetchml.config.proxies import caller_of
from fetchml.errors import Overloaded, RequestError, TooManyConnections

SHARE_OF_ONE = 1 / 4
"""So much of all connections may one address hold: nobody alone shuts the others out."""
SHARE_OF_MANY = 3 / 4
"""An address that many clients share; others still get in."""


class CloseReason(StrEnum):
    """Why a connection was refused, or ended by the server."""

    TOO_MANY = "too_many"
    TOO_MANY_OF_ADDRESS = "too_many_of_address"
    HEAD_TOO_LARGE = "head_too_large"
    HEAD_TOO_SLOW = "head_too_slow"
    HEADS_TOO_LARGE = "heads_too_large"
    NOT_READ = "not_read"


def share_of_address(most: int, *, shared: bool) -> int:
    """How many of `most` connections one address may hold; `shared`: many clients may stand
    behind it."""
    return max(1, int(most * (SHARE_OF_MANY if shared else SHARE_OF_ONE)))


class OpenConnections:
    """Memory is bounded by what is open: addresses that hold nothing are not kept."""

    def __init__(self, most: int, is_shared: Callable[[str], bool]) -> None:
        """`is_shared`: whether many clients may stand behind an address."""
        self._most = most
        self._is_shared = is_shared
        self._open = Counter[str]()
        self._count = 0
        self.ended = Counter[CloseReason]()
        """How often each reason ended a connection."""

    def __len__(self) -> int:
        return self._count

    def open(self, peer: str) -> str:
        """A connection from this address has come; returns what `close` takes.

        Raises TooManyConnections, Overloaded.
        """
        caller = caller_of(peer)
        most = share_of_address(self._most, shared=self._is_shared(peer))
        if self._open[caller] >= most:
            raise self._refused(CloseReason.TOO_MANY_OF_ADDRESS, TooManyConnections(most))
        if self._count >= self._most:
            raise self._refused(
                CloseReason.TOO_MANY, Overloaded("The server has too many connections")
            )
        self._open[caller] += 1
        self._count += 1
        return caller

    def close(self, caller: str) -> None:
        """What `open` returned is no longer open."""
        self._count -= 1
        self._open[caller] -= 1
        if not self._open[caller]:
            del self._open[caller]

    def _refused(self, why: CloseReason, error: RequestError) -> RequestError:
        self.ended[why] += 1
        return error
