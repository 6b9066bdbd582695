"""Limits on gRPC connections, by address and in total.

gRPC accepts connections itself and can only limit their total. A thread therefore inspects the
process's sockets and closes those of an address that exceeds its share; the oldest stay open. It
also closes those that send too much before they present a key (`newcomers`).
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from fetchml.api.grpc.sockets.newcomers import (
    HANDSHAKE_SECONDS,
    SETTINGS_SECONDS,
    Newcomers,
    excess_bytes,
)
from fetchml.api.grpc.sockets.own_sockets import OwnConnections, close_connections
from fetchml.api.grpc.sockets.peers import address_of
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
INSPECT_SECONDS = 0.1
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
        self._over: dict[str, frozenset[str]] = {}
        """Message → callers beyond that limit at the last inspection; each is logged once."""
        self._stopped = threading.Event()
        self.options = (
            ("grpc.max_allowed_incoming_connections", ACCEPTED * most),
            ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
            ("grpc.http2.settings_timeout", SETTINGS_SECONDS * 1000),
        )
        """Channel arguments for the gRPC server."""

    def start(self, port: int) -> None:
        """Limit the connections to this port until `stop`."""
        threading.Thread(
            target=self._inspect_regularly, args=(port,), name="grpc-connections", daemon=True
        ).start()

    def stop(self) -> None:
        """Stop inspecting connections."""
        self._stopped.set()

    def _inspect_regularly(self, port: int) -> None:
        connections = OwnConnections(port)
        while not self._stopped.wait(INSPECT_SECONDS):
            try:
                self._inspect(connections)
            except OSError as error:
                # The process has reached its limit of open files.
                log.warning("cannot inspect gRPC connections: %s", error)

    def _inspect(self, connections: OwnConnections) -> None:
        new = frozenset(self._newcomers.find(connections.peers))
        sent_most = excess_bytes(connections.received(new)) if new else set()
        self._close("too many bytes over gRPC without a valid key: closed connections", sent_most)
        newest = excess_of(connections.known, self._most, self._is_shared)
        self._close("too many gRPC connections: closed the newest", newest)

    def _close(self, message: str, peers: Collection[str]) -> None:
        if peers:
            close_connections(peers)
        over = frozenset(caller_of(address_of(peer)) for peer in peers)
        if first := sorted(over - self._over.get(message, frozenset())):
            others = f" and {len(first) - 1} others" if len(first) > 1 else ""
            log.warning("%s of %s%s", message, first[0], others)
        self._over[message] = over


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
