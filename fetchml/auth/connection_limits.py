"""Limits on open connections: of each address, and of all addresses together."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from fetchml.config.proxies import caller_of
from fetchml.errors import Overloaded, RequestError, TooManyConnections

SHARE_OF_ONE = 1 / 4
"""The share of all connections that one address may hold, so that it cannot lock others out."""
SHARE_OF_MANY = 3 / 4
"""The share of an address that many clients use, such as a proxy's."""


class CloseReason(StrEnum):
    """The reason why the server rejected or ended a connection."""

    TOO_MANY = "too_many"
    TOO_MANY_OF_ADDRESS = "too_many_of_address"
    NOT_READ = "not_read"


def share_of_address(most: int, *, shared: bool) -> int:
    """Return how many of `most` connections one address may hold. `shared`: whether many clients
    may use the address."""
    return max(1, int(most * (SHARE_OF_MANY if shared else SHARE_OF_ONE)))


class ConnectionLimits:
    """Counts open connections by address. An address without one takes no memory."""

    def __init__(self, most: int, is_shared: Callable[[str], bool]) -> None:
        """`is_shared`: whether many clients may use an address."""
        self._most = most
        self._is_shared = is_shared
        self._open = Counter[str]()
        self._count = 0
        self.ended = Counter[CloseReason]()
        """Number of connections that the server rejected or ended, by reason."""

    def __len__(self) -> int:
        return self._count

    def open(self, peer: str) -> str:
        """Count a new connection; returns the argument for `close`.

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
        """Count a connection as closed. `caller`: what `open` returned."""
        self._count -= 1
        self._open[caller] -= 1
        if not self._open[caller]:
            del self._open[caller]

    def _refused(self, why: CloseReason, error: RequestError) -> RequestError:
        self.ended[why] += 1
        return error
