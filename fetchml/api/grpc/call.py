"""A call: its context, and its peer's address, behind trusted proxies."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from fetchml.auth.admission import Admission
from fetchml.core.model import Principal

Metadata = Iterable[tuple[str, Any]]


@functools.lru_cache(maxsize=4096)
def address_of(peer: str) -> str:
    """Return the address in gRPC's name of a peer: `::1` for `ipv6:%5B::1%5D:5000`."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


def client_of(admission: Admission, peer: str, metadata: Metadata) -> str:
    """Return the client's address, behind trusted proxies."""
    address = address_of(peer)
    for name, _ in metadata:
        if name == "x-forwarded-for":
            every = ",".join([value for name, value in metadata if name == "x-forwarded-for"])
            return admission.client_of(address, every)
    return address


class RpcContext(msgspec.Struct, frozen=True):
    """The parts of a call, besides its request, that a method may use."""

    principal: Principal
    metadata: Mapping[str, str | bytes]
