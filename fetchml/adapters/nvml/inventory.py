"""The machine's GPUs through NVIDIA's library, which may be slow, hang, or go away at any time."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from msgspec.structs import replace

from fetchml.adapters.nvml.session import Device, DriverAway, NvmlSession, SessionEnded, Xid
from fetchml.core.gpus.health import (
    GpuReading,
    XidSeen,
    derive,
    fault,
    idle_level,
    xid_words,
)
from fetchml.core.gpus.model import Obstacle, ObstacleKind
from fetchml.ports.gpu import GpuState, OwnerOf
from fetchml.system.clock import Clock

_EVERY_SECONDS = 2.0
_SILENT_SECONDS = 10.0
"""After that a driver that has not answered is said not to."""
_CHECK_SECONDS = 1.0
"""What a task's memory gets to come back. It is there when its processes are gone; drivers have
been seen to take a little longer."""
_CHECK_PAUSE_SECONDS = 0.002
_XIDS_KEPT = 16
SILENT = "the NVIDIA driver does not answer"

log = logging.getLogger(__name__)

T = TypeVar("T")


class NvmlInventory:
    """`GpuInventory`. Two threads ask the library: one for all there is, one for checks, so that
    these need not wait for the other. A third hears of errors. All are daemons: a driver that
    hangs must not keep the server from ending."""

    def __init__(
        self, *, every_seconds: float = _EVERY_SECONDS, silent_seconds: float = _SILENT_SECONDS
    ) -> None:
        self._every = every_seconds
        self._silent = silent_seconds
        self._state = GpuState(problem="not looked yet")
        self._wake = asyncio.Event()
        self._asked: list[asyncio.Future[GpuState]] = []

    @property
    def state(self) -> GpuState:
        return self._state

    async def open(self, on_change: Callable[[GpuState], None], owner_of: OwnerOf) -> None:
        self._loop = asyncio.get_running_loop()
        self._looker = _Looker(owner_of, self._heard)
        self._on_change = on_change
        self._look_thread = _Worker("nvml-look")
        self._check_thread = _Worker("nvml-check")
        self._told: object = None
        self._looking = asyncio.create_task(self._look_again_and_again())
        await self.refresh()

    async def refresh(self) -> GpuState:
        asked: asyncio.Future[GpuState] = self._loop.create_future()
        self._asked.append(asked)
        self._wake.set()
        return await asked

    async def check(
        self, uuids: Sequence[str], holders: Collection[str] = ()
    ) -> Mapping[str, Obstacle | None]:
        found: dict[str, Obstacle | None] = {}
        left, pause = list(uuids), _CHECK_PAUSE_SECONDS
        give_up = self._loop.time() + _CHECK_SECONDS
        while True:
            faults = self._check_thread.call(self._looker.faults, left, holders)
            done, _ = await asyncio.wait([faults], timeout=self._silent)
            found |= _found(faults, left)
            left = [uuid for uuid, reason in found.items() if reason]
            if not done or not left or self._loop.time() > give_up:
                break
            await asyncio.sleep(pause)
            pause *= 2
        if left:
            self._wake.set()
        return found

    def forgive(self, uuid: str) -> None:
        self._looker.forgive(uuid)
        self._wake.set()

    async def close(self) -> None:
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        for asked in self._asked:
            asked.cancel()
        closed = self._look_thread.call(self._looker.close)
        await asyncio.wait([closed], timeout=self._silent)
        self._look_thread.end()
        self._check_thread.end()

    async def _look_again_and_again(self) -> None:
        while True:
            asked, self._asked = self._asked, []
            self._wake.clear()
            look = self._look_thread.call(self._looker.look)
            done, _ = await asyncio.wait([look], timeout=self._silent)
            if not done:
                log.error("%s; GPUs are given to no task until it does", SILENT)
                self._tell(self._looker.silent(self._state, SILENT), asked)
                await asyncio.wait([look])
            try:
                state = look.result()
            except Exception as error:
                log.exception("The GPUs could not be looked at")
                state = self._looker.silent(self._state, f"they could not be looked at: {error}")
            self._tell(state, asked)
            if not self._asked:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._every)

    def _tell(self, state: GpuState, asked: list[asyncio.Future[GpuState]]) -> None:
        self._state = state
        telling = (state.gpus, state.driver, state.problem, state.notes)
        if self._told != telling:
            self._told = telling
            self._on_change(state)
        for future in asked:
            if not future.done():
                future.set_result(state)

    def _heard(self) -> None:
        """In the events thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._wake.set)


class _Looker:
    """What is known of the GPUs, and the asking. Its methods block, but for `forgive`."""

    def __init__(self, owner_of: OwnerOf, on_event: Callable[[], None]) -> None:
        self._owner_of = owner_of
        self._on_event = on_event
        self._clock = Clock()
        self._lock = threading.Lock()
        """Held while the library is asked about one device, or ended: a check goes in between two
        devices, and no call is under way when a session is closed."""
        self._session: NvmlSession | None = None
        self._devices: dict[str, Device] = {}
        self._known: dict[str, GpuReading] = {}
        """The last reading of all that was ever there, in the order of the bus."""
        self._idle: dict[str, int | None] = {}
        self._xids: dict[str, tuple[XidSeen, ...]] = {}
        """By the device that they are about: a whole GPU, or one of its MIG devices."""

    def look(self) -> GpuState:
        """In one thread only."""
        try:
            return self._look()
        except SessionEnded:
            self._end_session()
        try:
            return self._look()
        except SessionEnded as error:
            self._end_session()
            return self._away(DriverAway(f"NVIDIA's driver does not answer: {error}", 0))

    def faults(self, uuids: Sequence[str], holders: Collection[str]) -> dict[str, Obstacle | None]:
        """See `GpuInventory.check`: as it is now."""
        return {uuid: self._fault(uuid, holders) for uuid in uuids}

    def forgive(self, uuid: str) -> None:
        self._xids.pop(uuid, None)
        if device := self._devices.get(uuid):
            self._xids.pop(device.parent.uuid if device.parent else uuid, None)

    def silent(self, before: GpuState, why: str) -> GpuState:
        """The state while the library answers nothing."""
        readings = tuple(replace(reading, trouble=why) for reading in before.readings)
        return replace(before, readings=readings, gpus=self._derived(readings), problem=why)

    def close(self) -> None:
        self._end_session()

    def _look(self) -> GpuState:
        try:
            session = self._open_session()
        except DriverAway as error:
            return self._away(error)
        with self._lock:
            devices, notes, nameless = session.devices()
            self._devices = {device.uuid: device for device in devices}
        read = {device.uuid: self._read(session, device) for device in devices}
        if read and all(reading.trouble for reading in read.values()):
            # Such as after a reload that was not noticed: the next look begins anew.
            self._end_session()
        there = read.keys() | {device.parent.uuid for device in devices if device.parent}
        for uuid, reading in self._known.items():
            # A MIG device that its owner removed, or a GPU that was cut into some, is not lost.
            if uuid not in there and (reading.parent is None or reading.parent not in there):
                read[uuid] = _missed(reading, nameless)
        self._keep(read)
        return self._state(driver=session.driver, notes=tuple(notes))

    def _read(self, session: NvmlSession, device: Device) -> GpuReading:
        with self._lock:
            reading = session.read(device, self._owner_of)
            reading = replace(reading, xids=self._xids_of(device))
            idle = idle_level(reading, self._idle.get(device.uuid))
            if derive(reading, idle).blocked:
                # Perhaps a process has just ended, and only half of that was seen.
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
                return _unknown("the driver does not tell of it now")
            try:
                reading = session.read_again(before, device, self._owner_of)
            except SessionEnded as error:
                return _unknown(f"the driver says: {error}")
            reading = replace(reading, xids=self._xids_of(device))
        return fault(reading, self._idle.get(uuid), holders)

    def _open_session(self) -> NvmlSession:
        """Raises DriverAway."""
        with self._lock:
            if self._session is None:
                self._session = NvmlSession(self._heard, self._on_event)
                self._xids.clear()
                self._idle.clear()
            return self._session

    def _end_session(self) -> None:
        with self._lock:
            session, self._session, self._devices = self._session, None, {}
            if session is not None:
                session.close()

    def _away(self, error: DriverAway) -> GpuState:
        """What was known stays known; it is lost if there is no driver any more."""
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
            reading.uuid: replace(reading, place=place) for place, reading in enumerate(in_order)
        }

    def _state(self, **about: Any) -> GpuState:
        readings = tuple(self._known.values())
        return GpuState(readings=readings, gpus=self._derived(readings), **about)

    def _derived(self, readings: tuple[GpuReading, ...]) -> tuple[Any, ...]:
        return tuple(derive(reading, self._idle.get(reading.uuid)) for reading in readings)

    def _xids_of(self, device: Device) -> tuple[XidSeen, ...]:
        of_whole = self._xids.get(device.parent.uuid, ()) if device.parent else ()
        return of_whole + self._xids.get(device.uuid, ())

    def _heard(self, xid: Xid) -> None:
        """In the events thread."""
        about = xid.uuid
        for device in self._devices.values():
            if device.parent and device.parent.uuid == xid.uuid and device.instance == xid.instance:
                about = device.uuid
        log.warning("A GPU error", extra={"gpu": about, "xid": xid_words(xid.code)})
        seen = XidSeen(self._clock(), xid.code)
        self._xids[about] = (*self._xids.get(about, ()), seen)[-_XIDS_KEPT:]
        self._on_event()


class _Worker:
    """A thread that does one thing after the other."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def call(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()

        def work() -> None:
            try:
                result = function(*arguments)
            except Exception as error:  # noqa: BLE001 - raised where it is awaited
                self._post(_fail, future, error)
            else:
                self._post(_succeed, future, result)

        self._work.put(work)
        return future

    def end(self) -> None:
        self._work.put(None)

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *arguments)

    def _run(self) -> None:
        while work := self._work.get():
            work()


def _missed(reading: GpuReading, nameless: int) -> GpuReading:
    """Of a device that the driver no longer tells of. It may be one of the nameless ones, and a
    task on it may well go on."""
    if nameless and not reading.lost:
        return replace(reading, trouble="the driver does not tell which GPU it is", processes=())
    return replace(reading, lost=reading.lost or "it is no longer there", processes=())


def _order(reading: GpuReading) -> tuple[str, int]:
    """On the bus, MIG devices in the order of their GPU."""
    part = reading.index.partition(":")[2]
    return reading.bus, int(part or 0)


def _found(
    looking: asyncio.Future[dict[str, Obstacle | None]], uuids: Sequence[str]
) -> dict[str, Obstacle | None]:
    """What a check came to; without an answer no GPU is fine."""
    if not looking.done():
        return dict.fromkeys(uuids, _unknown(SILENT))
    if error := looking.exception():
        log.error("GPUs could not be checked", exc_info=error)
        return dict.fromkeys(uuids, _unknown(f"it could not be checked: {error}"))
    return looking.result()


def _unknown(detail: str) -> Obstacle:
    return Obstacle(ObstacleKind.UNKNOWN, detail)


def _succeed(future: asyncio.Future[T], result: T) -> None:
    if not future.done():  # nor cancelled
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
