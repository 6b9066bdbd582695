"""How many gRPC connections each address may hold open, and all addresses together.

gRPC accepts connections by itself, and limits them in all only. So a thread looks at the process's
sockets, and closes those of an address that holds more than its share; the oldest stay.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable

from fetchml.api.grpc.calls import address_of
from fetchml.api.grpc.own_sockets import OwnConnections, close_connections, count_open_files
from fetchml.auth.open_connections import share_of_address
from fetchml.config.proxies import caller_of

CONNECTION_BYTES = 64 * 1024
"""Memory of one connection; most of it is for a head that is not complete (measured: 15 KiB
without one, 52 KiB with the largest)."""
ACCEPTED = 2
"""gRPC accepts so many times the limit. While an address opens connections as fast as it can, the
rest is room for other addresses until the next look."""
LOOK_SECONDS = 0.25
HANDSHAKE_SECONDS = 10
"""For TLS and the first frame of HTTP/2."""
IDLE_SECONDS = 300
"""A connection ends when it has had no call for so long. An open stream is a call; pings are not.
Clients connect again by themselves at their next call."""

log = logging.getLogger(__name__)


class GrpcConnections:
    """The limits on the connections of one gRPC server that listens on one port."""

    def __init__(self, most: int, is_shared: Callable[[str], bool]) -> None:
        """`is_shared`: whether many clients may stand behind an address."""
        self._most = most
        self._is_shared = is_shared
        self._share = share_of_address(most, shared=False)
        self._over = frozenset[str]()
        """Callers beyond their limit at the last look: each is logged once."""
        self._stopped = threading.Event()
        self.options = (
            ("grpc.max_allowed_incoming_connections", ACCEPTED * most),
            ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
        )
        """Channel arguments of the server."""

    def start(self, port: int) -> None:
        """Limit the connections to this port until `stop`."""
        threading.Thread(
            target=self._look_at_times, args=(port,), name="grpc-connections", daemon=True
        ).start()

    def stop(self) -> None:
        """Look no more at connections."""
        self._stopped.set()

    def _look_at_times(self, port: int) -> None:
        connections = OwnConnections(port)
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                # With no more open files than one address's share, no address is above it.
                if count_open_files() > self._share:
                    self._close_excess(connections)
            except OSError as error:
                # The process may open no more files at this moment.
                log.warning("can't look at gRPC's connections: %s", error)

    def _close_excess(self, connections: OwnConnections) -> None:
        excess = excess_of(connections.peers(), self._most, self._is_shared)
        if excess:
            close_connections(excess)
        over = frozenset(caller_of(address_of(peer)) for peer in excess)
        for caller in over - self._over:
            log.warning("too many gRPC connections: the newest of %s are closed", caller)
        self._over = over


def excess_of(peers: Iterable[str], most: int, is_shared: Callable[[str], bool]) -> set[str]:
    """Of `peers`, the oldest first, those beyond their address's share of `most` connections, and
    beyond `most` in all."""
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
