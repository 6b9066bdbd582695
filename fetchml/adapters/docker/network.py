"""The network of the tasks: FetchML's own, on which no container reaches another.

On the engine's network `bridge` every container reaches every other one's ports. FetchML creates
its own with `enable_icc=false`: the engine's rules drop all packets between two of its containers.
It is created when the first container needs it, and again if it is gone. Where the server may set
firewall rules, it closes the cloud's metadata service to the network.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fetchml.adapters.docker.container_config import INSTANCE_LABEL
from fetchml.adapters.docker.engine_http import EngineHttp, EngineRefused
from fetchml.adapters.docker.metadata_rules import RulesRefused, set_rules

OWN = "fetchml"
"""Value of `[tasks] network` for FetchML's own network."""
_NO_ADDRESSES = ("non-overlapping IPv4 address pool", "address pools have been fully subnetted")
"""Parts of an engine's refusal of a network when its address pools are used up: Docker up to 26,
from 27 on."""
_ICC = "com.docker.network.bridge.enable_icc"
_NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
"""The engine's rules of a network without IPv6 are for IPv4 only, and some engines leave the
containers their link-local IPv6 addresses: those would reach each other."""

_log = logging.getLogger(__name__)


class TaskNetwork:
    """The network that `[tasks] network` names. One object for each engine."""

    def __init__(self, setting: str, *, allow_metadata: bool = False) -> None:
        """`allow_metadata`: containers may reach the cloud's metadata service."""
        self._allow_metadata = allow_metadata
        self.is_own = setting == OWN
        self.name = setting
        """Value of NetworkMode. Final once `open` was called."""
        self._label = ""
        self._is_there = False
        self._making = asyncio.Lock()

    def open(self, instance_id: str) -> None:
        """Several servers may use one engine: each has its own network."""
        if self.is_own:
            self.name = f"{OWN}-{instance_id}"
            self._label = instance_id

    @property
    def sysctls(self) -> dict[str, str]:
        """Kernel settings of the containers on the network."""
        return dict(_NO_IPV6) if self.is_own else {}

    async def ensure(self, http: EngineHttp) -> None:
        """Create FetchML's own network unless it exists. Raises EngineRefused,
        EngineUnavailable."""
        if not self.is_own or self._is_there:
            return
        async with self._making:
            if not self._is_there:
                await self._make(http)
                await self._set_rules(http)
                self._is_there = True

    def is_missing(self, error: EngineRefused) -> bool:
        """Return whether a refusal means that FetchML's own network is gone (`docker network prune`
        removes it if nothing runs). `ensure` creates it again."""
        missing = self.is_own and error.status == HTTPStatus.NOT_FOUND and "network" in str(error)
        if missing:
            self._is_there = False
        return missing

    async def _make(self, http: EngineHttp) -> None:
        body = {
            "Name": self.name,
            "CheckDuplicate": True,
            "Driver": "bridge",
            "EnableIPv6": False,
            "Labels": {INSTANCE_LABEL: self._label},
            "Options": {_ICC: "false"},
        }
        try:
            await self._create(http, body)
        except EngineRefused as error:
            if error.status != HTTPStatus.CONFLICT:
                raise EngineRefused(
                    error.status,
                    f"it cannot create the network of the tasks ({error}). Remove networks that "
                    "are not in use (docker network prune), or set [tasks] network to another one",
                ) from error
            network: dict[str, Any] = await http.ask("GET", f"/networks/{self.name}")
            if (network.get("Options") or {}).get(_ICC) != "false":
                raise EngineRefused(
                    error.status,
                    f"its network {self.name} lets containers reach each other: remove it "
                    f"(docker network rm {self.name}), and FetchML creates it again",
                ) from error

    async def _set_rules(self, http: EngineHttp) -> None:
        network: dict[str, Any] = await http.ask("GET", f"/networks/{self.name}")
        closed = not self._allow_metadata
        try:
            await asyncio.to_thread(set_rules, interface_of(network), closed=closed)
        except RulesRefused as error:
            if closed:
                _log.warning(
                    "Containers can reach the cloud's metadata service, if this host has one: "
                    "'fetchml doctor' shows the rules to add",
                    extra={"why": str(error)},
                )

    async def _create(self, http: EngineHttp, body: dict[str, Any]) -> None:
        """An engine has addresses for about 30 networks by default. If none is left, remove those
        of other data directories that no container uses: their servers create them again."""
        try:
            await http.ask("POST", "/networks/create", body=body)
        except EngineRefused as error:
            if not any(text in str(error) for text in _NO_ADDRESSES):
                raise
            await _remove_unused(http)
            await http.ask("POST", "/networks/create", body=body)


def interface_of(network: Mapping[str, Any]) -> str:
    """Return the name of a network's bridge on the host."""
    named = (network.get("Options") or {}).get("com.docker.network.bridge.name")
    return str(named or f"br-{network['Id'][:12]}")


async def _remove_unused(http: EngineHttp) -> None:
    query = {"filters": json.dumps({"label": [INSTANCE_LABEL], "driver": ["bridge"]})}
    for network in await http.ask("GET", "/networks", query):
        try:
            await http.ask("DELETE", f"/networks/{network['Id']}")
            _log.warning("Removed an unused network", extra={"network": network["Name"]})
        except EngineRefused:
            pass  # A container uses it, or another server has removed it.
