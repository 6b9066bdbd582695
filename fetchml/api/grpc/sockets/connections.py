"""Limits on gRPC connections, by address and in total.

gRPC accepts connections itself and can only limit their total. The event loop therefore watches the
process's listening sockets, finds each new connection among the process's files, and closes those
of an address that exceeds its share; the oldest stay open. It also limits what a connection sends
before it presents a key (`newcomers`): until the loop has seen it, a connection is not read.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from fetchml.api.grpc.sockets.newcomers import HANDSHAKE_SECONDS, SETTINGS_SECONDS, Newcomers
from fetchml.api.grpc.sockets.peers import address_of
from fetchml.api.grpc.sockets.watch import ConnectionWatch
from fetchml.auth.connection_limits import share_of_address
from fetchml.config.proxies import caller_of

CONNECTION_BYTES = 64 * 1024
"""Memory of one connection, mostly for an incomplete head (measured: 15 KiB without one, 52 KiB
with the largest)."""
NEW_BYTES = 16 * 1024
"""Of one that has sent nothing."""
SURPLUS = 1
"""gRPC accepts as many connections more as this multiple of the limit. While one address opens
connections as fast as it can, they admit other addresses until the next inspection."""
ACCEPTED = 1 + SURPLUS
IDLE_SECONDS = 300
"""A connection is closed after this time without a call. An open stream counts as a call, a ping
does not. Clients reconnect automatically at their next call."""

log = logging.getLogger(__name__)


class GrpcConnections:
    """The limits on the connections of one gRPC server that listens on one port."""

    def __init__(self, most: int, is_shared: Callable[[str], bool], newcomers: Newcomers) -> None:
        """`most`: connections of all addresses together. `is_shared`: returns whether many clients
        may share an address."""
        self._most = most
        self._is_shared = is_shared
        self._newcomers = newcomers
        self._over: frozenset[str] = frozenset()
        """Callers beyond their share at the last look; each is logged once."""
        self._watch: ConnectionWatch | None = None
        """`None` before `start` and after `stop`."""
        self.options = (
            ("grpc.max_allowed_incoming_connections", ACCEPTED * most),
            ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
            ("grpc.http2.settings_timeout", SETTINGS_SECONDS * 1000),
        )
        """Channel arguments for the gRPC server."""

    def start(self, port: int) -> None:
        """Limit the connections to this port until `stop`. gRPC listens there, and does not accept
        connections yet. Raises OSError."""
        self._watch = ConnectionWatch(port, self._newcomers, self._excess)

    def stop(self) -> None:
        """Stop limiting connections."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _excess(self, peers: Collection[str]) -> set[str]:
        """Return the connected peers to close. `peers`: the oldest first."""
        excess = excess_of(peers, self._most, self._is_shared)
        over = frozenset(caller_of(address_of(peer)) for peer in excess)
        if first := sorted(over - self._over):
            others = f" and {len(first) - 1} others" if len(first) > 1 else ""
            log.warning("too many gRPC connections: closed the newest of %s%s", first[0], others)
        self._over = over
        return excess


def excess_of(peers: Iterable[str], most: int, is_shared: Callable[[str], bool]) -> set[str]:
    """Return the peers beyond their address's share of `most` connections, and beyond `most` in
    total. `peers`: the oldest first."""
    held = Counter[str]()
    kept = 0
    excess = set()
    for peer in peers:
        address = address_of(peer)
        caller = caller_of(address)
        share = share_of_address(most, shared=is_shared(address))
        if held[caller] >= share or kept >= most:
            excess.add(peer)
        else:
            held[caller] += 1
            kept += 1
    return excess
