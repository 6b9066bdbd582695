"""Limits on what gRPC connections send before a key of theirs is accepted.

gRPC's limit on headers counts only after the client has acknowledged the server's settings. Until
then it would keep headers without end, at a hundred times their size. So a connection that never
acknowledges them is closed after `SETTINGS_SECONDS`, and in the time before, the bytes that it
sends are limited unless one of its calls presents a valid key.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from fetchml.api.grpc.sockets.peers import address_of
from fetchml.config.proxies import caller_of

HANDSHAKE_SECONDS = 10
"""Longest time for the TLS handshake and the first HTTP/2 frame."""
SETTINGS_SECONDS = 5
"""Longest time from then on until the client has acknowledged the server's settings."""
NEW_SECONDS = HANDSHAKE_SECONDS + SETTINGS_SECONDS + 1
"""Connections that are older have acknowledged them, so gRPC limits their headers."""
BYTES = 256 * 1024
"""Of one connection: many times what the first calls of a client and their messages have."""
BYTES_BY_ADDRESS = 512 * 1024
BYTES_IN_ALL = 768 * 1024
MEMORY_OF_BYTE = 128
"""Memory that gRPC takes for a byte of headers at most: a byte can name a whole field."""


class Newcomers:
    """The connections that have neither presented a valid key nor become old.

    `accept` is called by the event loop, everything else by one thread.
    """

    def __init__(
        self, is_trusted: Callable[[str], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`is_trusted`: whether an address is a trusted proxy's. Their connections carry the calls
        of others, and they acknowledge settings. `clock` returns monotonic seconds."""
        self._is_trusted = is_trusted
        self._clock = clock
        self._accepted: set[str] = set()
        """Peers whose keys were accepted since the last `find`."""
        self._since: dict[str, float] = {}
        """Connected peer → time at which it was seen first; long ago if its key was accepted."""

    def accept(self, peer: str) -> None:
        """Note that a call over this connection presented a valid key. `peer`: as gRPC names it."""
        self._accepted.add(peer)

    def find(self, connected: Callable[[], Collection[str]]) -> list[str]:
        """Return those of the connected peers that are newcomers."""
        now = self._clock()
        # Taken before the peers are listed: a peer that is accepted later may be missing there.
        accepted, self._accepted = self._accepted, set()
        peers, before = connected(), self._since
        self._since = {
            peer: float("-inf") if peer in accepted else before.get(peer, now) for peer in peers
        }
        return [
            peer
            for peer, since in self._since.items()
            if now - since < NEW_SECONDS and not self._is_trusted(address_of(peer))
        ]


def excess_bytes(received: Mapping[str, int]) -> set[str]:
    """Return the newcomers to close, those that sent most first. `received`: peer → bytes."""
    by_caller = Counter[str]()
    total = 0
    excess = set()
    for peer, size in sorted(received.items(), key=lambda item: item[1]):
        caller = caller_of(address_of(peer))
        if (
            size > BYTES
            or by_caller[caller] + size > BYTES_BY_ADDRESS
            or total + size > BYTES_IN_ALL
        ):
            excess.add(peer)
        else:
            by_caller[caller] += size
            total += size
    return excess
