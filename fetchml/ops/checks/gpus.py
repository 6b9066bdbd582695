"""The GPUs of the host."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from fetchml.adapters.nvml.inventory import SILENT, NvmlInventory
from fetchml.config.settings import Settings
from fetchml.core.gpus.allocator import ObstacleKind
from fetchml.ports.gpu import GpuState
from fetchml.views import Finding

GPU_SECONDS = 15.0
"""Drivers take some seconds to wake the GPUs of a large host."""
PCI_DEVICES = Path("/sys/bus/pci/devices")


def gpus(settings: Settings, gpus: GpuState) -> Iterator[Finding]:
    name, slots = "gpus", settings.gpu.slots
    if gpus.problem == SILENT:
        fix = "Look at the kernel's log (dmesg); a restart of the host often helps."
        yield Finding(name, SILENT, fix)
    elif gpus.problem:
        fix = ""
        if _has_nvidia_gpu():
            fix = "Install NVIDIA's driver and load it (modprobe nvidia, nvidia-smi)."
            if "exchanged" in gpus.problem:
                fix = "Restart the host, so that the new driver is loaded."
        yield Finding(name, gpus.problem + (f", {slots} plain GPU slots" if slots else ""), fix)
    else:
        count = len(gpus.gpus)
        unused = f"; [gpu] slots = {slots} is used instead" if slots else ""
        yield Finding(name, f"{count} found, NVIDIA driver {gpus.driver}{unused}")
        yield from (Finding(name, note, "See docs/gpu.md.") for note in gpus.notes)
    if settings.gpu.packing and (slots or settings.gpu.slots_per_gpu == 1):
        lacks = "plain slots have no memory" if slots else "no GPU has more than one slot"
        fix = "Set [gpu] slots_per_gpu, and no [gpu] slots; or leave out [gpu] packing."
        yield Finding("packing", f"[gpu] packing lets no tasks share a GPU: {lacks}", fix)
    for reading, gpu in zip(gpus.readings, gpus.gpus, strict=True):
        finding = f"{gpu.name}, {gpu.memory_mb >> 10} GiB, {gpu.uuid}: {gpu.blocked or 'free'}"
        ill = gpu.blocked is not None and gpu.blocked.kind is not ObstacleKind.BUSY
        fix = "End its work, then reset it (nvidia-smi --gpu-reset) or restart the host."
        yield Finding(f"gpu {reading.index}", finding, fix if ill else "")


def inventory() -> GpuState:
    async def look() -> GpuState:
        inventory = NvmlInventory(silent_seconds=GPU_SECONDS)
        await inventory.open(lambda _: None, lambda _: None)
        try:
            return inventory.state
        finally:
            await inventory.close()

    return asyncio.run(look())


def _has_nvidia_gpu() -> bool:
    """Return whether the bus has one, with or without a driver."""
    for device in PCI_DEVICES.glob("*"):
        try:
            vendor, kind = ((device / file).read_text() for file in ("vendor", "class"))
        except OSError:
            continue
        if vendor.strip() == "0x10de" and kind.startswith("0x03"):
            return True
    return False
