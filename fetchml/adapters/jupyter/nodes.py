"""Links to Jupyters on the nodes of a cluster, each behind its relay (adapters/node_relays)."""

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fetchml.adapters.node_relays.connection import (
    connector_to,
    invalid_record,
    port_in,
    read_record,
)
from fetchml.auth.pinned_certificate import certificate_of
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.jupyter import JupyterLink, JupyterPlace

RECORD = "relay"


class NodeLinks:
    """Opens links to Jupyters on nodes."""

    def __init__(self, address_of: Callable[[str, int], str | None], disk: SharedDisk) -> None:
        """`address_of`: see `Cluster`. `disk`: has the attempts' folders."""
        self._address_of = address_of
        self._disk = disk

    async def open(self, place: JupyterPlace) -> JupyterLink:
        """Raises OSError."""
        address = self._address_of(place.service_id, place.attempt)
        if address is None:
            raise OSError("it is not known on which node it runs")
        port, tls = await self._disk(partial(_prepare, place))
        return JupyterLink(place.service_id, place.token, await connector_to(address, port, tls))


def read_port(run_folder: Path) -> int:
    """Return the port that the relay has recorded. Raises OSError if there is no port, or one
    that no relay can have."""
    record = read_record(run_folder, RECORD)
    if record.keys() != {"port"}:
        raise invalid_record()
    return port_in(record)


def _prepare(place: JupyterPlace) -> tuple[int, ssl.SSLContext]:
    """Return the port and the context of the handshake. Raises OSError."""
    return read_port(place.run_folder), certificate_of(place.relay_secret).client_context()
