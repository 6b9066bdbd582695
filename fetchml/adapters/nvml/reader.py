"""Readings of the machine's GPUs, from one session with NVIDIA's library to the next."""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec.structs import replace

from fetchml.adapters.nvml.session import Device, DriverUnavailable, NvmlSession, SessionEnded, Xid
from fetchml.core.gpus.allocator import Obstacle, ObstacleKind
from fetchml.core.gpus.health import (
    GpuReading,
    XidSeen,
    derive,
    describe_xid,
    fault,
    idle_level,
)
from fetchml.ports.gpu import GpuState, OwnerOf
from fetchml.system.clock import Clock

_XIDS_KEPT = 16

log = logging.getLogger(__name__)


class GpuReader:
    """Reads the GPUs, and remembers what a single reading does not show.

    All methods but `forgive` block.
    """

    def __init__(self, owner_of: OwnerOf, on_event: Callable[[], None]) -> None:
        self._owner_of = owner_of
        self._on_event = on_event
        self._clock = Clock()
        self._lock = threading.Lock()
        """Held while the library answers about one device, and while a session is closed: a check
        fits between two devices, and no call is under way at a close."""
        self._session: NvmlSession | None = None
        self._devices: dict[str, Device] = {}
        self._known: dict[str, GpuReading] = {}
        """The last reading of each device ever seen, in the order of the bus."""
        self._idle: dict[str, int | None] = {}
        self._xids: dict[str, tuple[XidSeen, ...]] = {}
        """By device: a whole GPU, or one of its MIG devices."""

    def read(self) -> GpuState:
        """Read all GPUs. Called in one thread only."""
        try:
            return self._read_all()
        except SessionEnded:
            self._end_session()
        try:
            return self._read_all()
        except SessionEnded as error:
            self._end_session()
            return self._unavailable(
                DriverUnavailable(f"no response from NVIDIA's driver: {error}", 0)
            )

    def faults(self, uuids: Sequence[str], holders: Collection[str]) -> dict[str, Obstacle | None]:
        """Return the faults of `GpuInventory.check`, at this moment."""
        return {uuid: self._fault(uuid, holders) for uuid in uuids}

    def forgive(self, uuid: str) -> None:
        self._xids.pop(uuid, None)
        if device := self._devices.get(uuid):
            self._xids.pop(device.parent.uuid if device.parent else uuid, None)

    def silent(self, before: GpuState, why: str) -> GpuState:
        """Return the state while the library does not answer."""
        readings = tuple(replace(reading, trouble=why) for reading in before.readings)
        return replace(before, readings=readings, gpus=self._derived(readings), problem=why)

    def close(self) -> None:
        self._end_session()

    def _read_all(self) -> GpuState:
        try:
            session = self._open_session()
        except DriverUnavailable as error:
            return self._unavailable(error)
        with self._lock:
            devices, notes, nameless = session.devices()
            self._devices = {device.uuid: device for device in devices}
        read = {device.uuid: self._read_device(session, device) for device in devices}
        if read and all(reading.trouble for reading in read.values()):
            # For example, after an unnoticed reload of the driver. The next reading opens it.
            self._end_session()
        there = read.keys() | {device.parent.uuid for device in devices if device.parent}
        for uuid, reading in self._known.items():
            # A MIG device that was removed, or a GPU that was divided into some, is not lost.
            if uuid not in there and (reading.parent is None or reading.parent not in there):
                read[uuid] = _missed(reading, nameless)
        self._keep(read)
        return self._state(driver=session.driver, cuda=session.cuda, notes=tuple(notes))

    def _read_device(self, session: NvmlSession, device: Device) -> GpuReading:
        with self._lock:
            reading = session.read(device, self._owner_of)
            reading = replace(reading, xids=self._xids_of(device))
            idle = idle_level(reading, self._idle.get(device.uuid))
            if derive(reading, idle).blocked:
                # A process may have ended in the middle of the reading.
                reading = session.read_again(reading, device, self._owner_of)
                idle = idle_level(reading, self._idle.get(device.uuid))
        if reading.memory_mb == 0 and device.uuid in self._known:
            before = self._known[device.uuid]
            reading = replace(reading, memory_mb=before.memory_mb, used_mb=None)
        self._idle[device.uuid] = idle
        return reading

    def _fault(self, uuid: str, holders: Collection[str]) -> Obstacle | None:
        with self._lock:
            session, device = self._session, self._devices.get(uuid)
            before = self._known.get(uuid)
            if before and before.lost:
                return fault(before, None, holders)
            if session is None or device is None or before is None:
                return unknown("the driver does not report it now")
            try:
                reading = session.read_again(before, device, self._owner_of)
            except SessionEnded as error:
                return unknown(f"driver error: {error}")
            reading = replace(reading, xids=self._xids_of(device))
        return fault(reading, self._idle.get(uuid), holders)

    def _open_session(self) -> NvmlSession:
        """Raises DriverUnavailable."""
        with self._lock:
            if self._session is None:
                self._session = NvmlSession(self._record_xid, self._on_event)
                self._xids.clear()
                self._idle.clear()
            return self._session

    def _end_session(self) -> None:
        with self._lock:
            session, self._session, self._devices = self._session, None, {}
            if session is not None:
                session.close()

    def _unavailable(self, error: DriverUnavailable) -> GpuState:
        """Keep the last readings, as lost if the driver is no longer loaded."""
        gone = "NVIDIA's driver is no longer loaded" if error.unloaded else None
        self._keep(
            {
                uuid: replace(reading, lost=reading.lost or gone, trouble=str(error), processes=())
                for uuid, reading in self._known.items()
            }
        )
        return self._state(problem=str(error))

    def _keep(self, readings: dict[str, GpuReading]) -> None:
        in_order = sorted(readings.values(), key=_order)
        self._known = {
            reading.uuid: replace(reading, position=position)
            for position, reading in enumerate(in_order)
        }

    def _state(self, **about: Any) -> GpuState:
        readings = tuple(self._known.values())
        return GpuState(readings=readings, gpus=self._derived(readings), **about)

    def _derived(self, readings: tuple[GpuReading, ...]) -> tuple[Any, ...]:
        return tuple(derive(reading, self._idle.get(reading.uuid)) for reading in readings)

    def _xids_of(self, device: Device) -> tuple[XidSeen, ...]:
        of_whole = self._xids.get(device.parent.uuid, ()) if device.parent else ()
        return of_whole + self._xids.get(device.uuid, ())

    def _record_xid(self, xid: Xid) -> None:
        """Called in the events thread."""
        about = xid.uuid
        for device in self._devices.values():
            if device.parent and device.parent.uuid == xid.uuid and device.instance == xid.instance:
                about = device.uuid
        log.warning("A GPU error", extra={"gpu": about, "xid": describe_xid(xid.code)})
        seen = XidSeen(self._clock(), xid.code)
        self._xids[about] = (*self._xids.get(about, ()), seen)[-_XIDS_KEPT:]
        self._on_event()


def _missed(reading: GpuReading, nameless: int) -> GpuReading:
    """Update the reading of a device that the driver no longer reports.

    It may be one of those without a UUID, and its task may continue.
    """
    if nameless and not reading.lost:
        return replace(reading, trouble="the driver does not report its UUID", processes=())
    return replace(reading, lost=reading.lost or "no longer present", processes=())


def _order(reading: GpuReading) -> tuple[str, int]:
    """Sort by position on the bus, MIG devices by their number."""
    part = reading.index.partition(":")[2]
    return reading.bus, int(part or 0)


def unknown(detail: str) -> Obstacle:
    """Return the obstacle of a GPU whose condition can't be determined."""
    return Obstacle(ObstacleKind.UNKNOWN, detail)
