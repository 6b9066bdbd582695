"""Limits on gRPC connections, by address and in total.

gRPC accepts connections itself and can only limit their total. A thread therefore inspects the
process's sockets and closes those of an address that exceeds its share; the oldest stay open.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable

from fetchml.api.grpc.sockets.own_sockets import OwnConnections, close_connections, count_open_files
from fetchml.api.grpc.sockets.peers import address_of
from fetchml.auth.connection_limits import share_of_address
from fetchml.config.proxies import caller_of

CONNECTION_BYTES = 64 * 1024
"""Memory of one connection, mostly for an incomplete head (measured: 15 KiB without one, 52 KiB
with the largest)."""
ACCEPTED = 2
"""gRPC accepts this multiple of the limit. While one address opens connections as fast as it can,
the surplus admits other addresses until the next inspection."""
INSPECT_SECONDS = 0.25
HANDSHAKE_SECONDS = 10
"""Longest time for the TLS handshake and the first HTTP/2 frame."""
IDLE_SECONDS = 300
"""A connection is closed after this time without a call. An open stream counts as a call, a ping
does not. Clients reconnect automatically at their next call."""

log = logging.getLogger(__name__)


class GrpcConnections:
    """The limits on the connections of one gRPC server that listens on one port."""

    def __init__(self, most: int, is_shared: Callable[[str], bool]) -> None:
        """`most`: connections of all addresses together. `is_shared`: returns whether many clients
        may share an address."""
        self._most = most
        self._is_shared = is_shared
        self._share = share_of_address(most, shared=False)
        self._over = frozenset[str]()
        """Callers beyond their limit at the last inspection; each is logged once."""
        self._stopped = threading.Event()
        self.options = (
            ("grpc.max_allowed_incoming_connections", ACCEPTED * most),
            ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
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
                # With no more open files than one address's share, no address can exceed it.
                if count_open_files() > self._share:
                    self._close_excess(connections)
            except OSError as error:
                # The process has reached its limit of open files.
                log.warning("cannot inspect gRPC connections: %s", error)

    def _close_excess(self, connections: OwnConnections) -> None:
        excess = excess_of(connections.peers(), self._most, self._is_shared)
        if excess:
            close_connections(excess)
        over = frozenset(caller_of(address_of(peer)) for peer in excess)
        for caller in over - self._over:
            log.warning("too many gRPC connections: closed the newest of %s", caller)
        self._over = over


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
