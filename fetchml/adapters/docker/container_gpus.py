"""GPUs of containers: the offers of the engine, and the requests of a container."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fetchml.adapters.docker.engine import DockerEngine
from fetchml.ports.launcher import PrepareError
from fetchml.ports.task_environment import (
    NO_NVIDIA_DEVICES,
    GpuVariables,
    container_gpus,
    gpu_devices,
)

_KIND = "nvidia.com/gpu"
_VENDOR = "nvidia.com/"
_CAPABILITIES = ("gpu", "compute", "utility", "video")
_SPEC_BYTES = 4 << 20
_SPECS = 64
HOW_TO_OFFER = (
    "Install NVIDIA's container toolkit, run nvidia-ctk cdi generate "
    '--output=/etc/cdi/nvidia.yaml, set "features": {"cdi": true} in the engine\'s daemon.json, '
    "and restart the engine"
)
HOW_TO_DESCRIBE = "Run nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml again"


class GpuAddress(msgspec.Struct, frozen=True):
    """Where NVML finds a GPU now."""

    index: str
    """Such as "0", or "0:1" of a MIG device."""
    minor: int | None
    """The N of its device file /dev/nvidiaN; for a MIG device that of its GPU."""


AddressOf = Callable[[str], GpuAddress | None]
"""Returns the address of a GPU by its UUID; `None` if it does not exist."""


class CdiDevice(msgspec.Struct, frozen=True):
    """A device as a CDI specification names it."""

    name: str
    """The full name, such as "nvidia.com/gpu=0"."""
    nodes: tuple[str, ...] = ()
    """The device files that a container gets with it."""


class GpuOffer(msgspec.Struct, frozen=True):
    """The ways of one engine to give GPUs to containers."""

    cdi: tuple[CdiDevice, ...] | None = None
    """NVIDIA devices that it can give by CDI; `None` if CDI is off."""
    runtime: bool = False
    """NVIDIA's runtime is installed."""


class GpuGrant(msgspec.Struct, frozen=True):
    """The part of a container's configuration that gives it exactly its task's GPUs."""

    requests: tuple[Mapping[str, Any], ...] = ()
    variables: GpuVariables = {}


class DockerGpus:
    """Reads the engine's offer once for each connection."""

    def __init__(self, engine: DockerEngine, address_of: AddressOf) -> None:
        self._engine = engine
        self._address_of = address_of
        self._offer: tuple[int, GpuOffer] | None = None
        """The number of the connection, and its offer."""

    async def grant(self, gpu_ids: Sequence[str]) -> GpuGrant:
        """Raises PrepareError, EngineUnavailable."""
        uuids = gpu_devices(gpu_ids)
        if not uuids:
            return grant(gpu_ids, GpuOffer(), self._address_of)
        try:
            return grant(gpu_ids, await self._offered(), self._address_of)
        except PrepareError:
            # The host's owner may have updated the specifications meanwhile.
            return grant(gpu_ids, await self._offered(anew=True), self._address_of)

    async def _offered(self, *, anew: bool = False) -> GpuOffer:
        connection = self._engine.connections
        if anew or self._offer is None or self._offer[0] != connection:
            info = await self._engine.call(lambda http: http.ask("GET", "/info"))
            self._offer = (connection, await asyncio.to_thread(offered, info))
        return self._offer[1]


def offered(info: Mapping[str, Any]) -> GpuOffer:
    """Return the offer in an engine's description. Reads the CDI specifications on this host."""
    folders = info.get("CDISpecDirs") or []
    cdi = None
    if folders:
        described = {device.name: device for device in _described(map(Path, folders))}
        # Newer engines report the devices that they found.
        for discovered in info.get("DiscoveredDevices") or []:
            name = str(discovered.get("ID", ""))
            if discovered.get("Source") == "cdi" and name.startswith(_VENDOR):
                described.setdefault(name, CdiDevice(name))
        cdi = tuple(described.values())
    return GpuOffer(cdi, runtime="nvidia" in (info.get("Runtimes") or {}))


def grant(gpu_ids: Sequence[str], offer: GpuOffer, address_of: AddressOf) -> GpuGrant:
    """Return what the container of a task with these GPUs gets. Raises PrepareError."""
    uuids = gpu_devices(gpu_ids)
    void = container_gpus(gpu_ids, NO_NVIDIA_DEVICES)
    if not uuids:
        # Plain slots have no known devices; the host's owner decides what a container sees.
        return GpuGrant(variables=container_gpus(gpu_ids, None) if gpu_ids else void)
    try:
        if offer.cdi:
            names = [_cdi_name(uuid, offer.cdi, address_of) for uuid in uuids]
            return GpuGrant(({"Driver": "cdi", "DeviceIDs": names},), void)
    except PrepareError:
        if not offer.runtime:
            raise
    if offer.runtime:
        request: dict[str, Any] = {"Driver": "nvidia", "DeviceIDs": uuids}
        request["Capabilities"] = [list(_CAPABILITIES)]
        return GpuGrant((request,), container_gpus(gpu_ids, ",".join(uuids)))
    raise PrepareError(
        f"the Docker engine cannot pass GPUs to containers. {HOW_TO_OFFER}",
        permanent=True,
    )


def describes(offer: GpuOffer, uuid: str, address: GpuAddress | None) -> str | None:
    """Return why a container could not get this GPU; `None` if it could."""
    try:
        grant([uuid], offer, lambda _: address)
    except PrepareError as error:
        return str(error)
    return None


def _cdi_name(uuid: str, devices: Iterable[CdiDevice], address_of: AddressOf) -> str:
    """`nvidia-ctk` names a device by UUID, by index ("0", "0:1"), or by type and index ("gpu0",
    "mig0:1"), one or several of these, as its user chose."""
    by_name = {device.name: device for device in devices}
    for name in by_name:
        if name.startswith(_VENDOR) and name.partition("=")[2] == uuid:
            return name
    address = address_of(uuid)
    if address is not None:
        kind = "mig" if ":" in address.index else "gpu"
        for name in (f"{_KIND}={address.index}", f"{_KIND}={kind}{address.index}"):
            if name in by_name:
                _require_same(by_name[name], uuid, address)
                return name
    raise PrepareError(
        f"no CDI specification of the Docker engine names the GPU {uuid}. {HOW_TO_DESCRIBE}",
        permanent=True,
    )


def _require_same(device: CdiDevice, uuid: str, address: GpuAddress) -> None:
    """Check that an index still names the same GPU as in the specification. Raises PrepareError."""
    cards = [node for node in device.nodes if node.removeprefix("/dev/nvidia").isdecimal()]
    if address.minor is not None and cards not in ([], [f"/dev/nvidia{address.minor}"]):
        raise PrepareError(
            f"the CDI device {device.name} is {', '.join(cards)}, but the GPU {uuid} is "
            f"/dev/nvidia{address.minor}: the specification is out of date. {HOW_TO_DESCRIBE}",
            permanent=True,
        )


def _described(folders: Iterable[Path]) -> Iterable[CdiDevice]:
    """Yield the devices in the specifications; of two with one name the later folder's wins."""
    for folder in folders:
        try:
            files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".yaml"))
        except OSError:
            continue
        for file in files[:_SPECS]:
            yield from _devices_in(file)


def _devices_in(file: Path) -> Iterable[CdiDevice]:
    """Return the devices in one file; none if it is malformed, as the engine does."""
    import yaml  # noqa: PLC0415 - few machines have such files, and it is slow to load

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # JSON is YAML too.
    try:
        with file.open("rb") as stream:
            spec = yaml.load(stream.read(_SPEC_BYTES), loader)  # noqa: S506 - a safe one
        kind = str(spec["kind"])
        if not kind.startswith(_VENDOR):
            return []
        return [_device(kind, device) for device in spec["devices"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return []


def _device(kind: str, device: Mapping[str, Any]) -> CdiDevice:
    nodes = (device.get("containerEdits") or {}).get("deviceNodes") or []
    return CdiDevice(f"{kind}={device['name']}", tuple(str(node["path"]) for node in nodes))
