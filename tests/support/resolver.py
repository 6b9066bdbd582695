"""Names of hosts, as another network's name server answers for them."""

import socket
from typing import Any

import pytest

PRIVATE = "10.0.0.1"


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """`private.example` has a private address, other names have none."""

    def look_up(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        if host != "private.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PRIVATE, port))]

    monkeypatch.setattr("fetchml.adapters.checked_hosts.socket.getaddrinfo", look_up)
