"""The address of a listening socket."""

import socket
from ipaddress import ip_address
from typing import Self


class Address:
    """`HOST:PORT`, with an IPv6 host in brackets. Port 0: any free port."""

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""
        if not (colon and host and port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise ValueError("Expected HOST:PORT, such as 127.0.0.1:9101 or [::1]:9101")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can connect to it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def bind(self) -> list[socket.socket]:
        """Bind a socket to each address of the host, all with the same port; none listens yet.

        Raises OSError if one can't be bound.
        """
        sockets: list[socket.socket] = []
        port = self.port
        try:
            resolved = socket.getaddrinfo(
                self.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, where in dict.fromkeys(resolved):
                bound = socket.socket(family, kind, protocol)
                sockets.append(bound)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind((where[0], port, *where[2:]))
                port = bound.getsockname()[1]
        except BaseException:
            for each in sockets:
                each.close()
            raise
        return sockets

    def probe(self) -> None:
        """Raise OSError if nothing can listen here now."""
        for bound in self.bind():
            bound.close()

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.host, self.port) == (other.host, other.port)

    def __hash__(self) -> int:
        return hash((self.host, self.port))
