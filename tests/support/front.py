"""What stands between the clients and the servers of the tests: nothing, or a proxy.

The suites of REST, /ws and gRPC run through a proxy unchanged: the worlds ask here where a server
has to listen, and where its clients go. `tests/envoy` sets it.
"""

from typing import NamedTuple


class Front(NamedTuple):
    http_port: int
    """Where the proxy looks for REST and /ws."""
    grpc_port: int
    """Where it looks for gRPC."""
    address: str
    """Where clients find the proxy, HOST:PORT."""


class Place:
    """The front of the test that runs now."""

    front: Front | None = None


PLACE = Place()


def http_port() -> int:
    """Where a server listens; 0: wherever the system likes."""
    return PLACE.front.http_port if PLACE.front else 0


def grpc_port() -> int:
    return PLACE.front.grpc_port if PLACE.front else 0


def seen(address: str) -> str:
    """Where clients go for a server that listens at `address`, HOST:PORT."""
    return PLACE.front.address if PLACE.front else address
