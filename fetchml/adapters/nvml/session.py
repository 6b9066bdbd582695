"""One session with NVIDIA's library, from its initialization to its end. All calls block."""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import pynvml
from msgspec.structs import replace

from fetchml.core.gpus.allocator import UNOWNED
from fetchml.core.gpus.health import GpuProcess, GpuReading
from fetchml.ports.gpu import OwnerOf
from fetchml.system import processes

_EVENT_MS = 200
"""Duration of one wait for events, and so the longest time that `close` takes."""
_ANY_INSTANCE = 0xFFFFFFFF
_SESSION_ENDED = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)
_GPU_LOST = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_GPU_NOT_FOUND})
_RESET_REQUIRED = 1
"""Of the recovery actions."""

T = TypeVar("T")


class SessionEnded(Exception):
    """The driver was unloaded or replaced: the library must be initialized again."""


class DriverUnavailable(Exception):
    """The library can't be used. The message has the reason, for people."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.unloaded = code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
        """No driver is loaded, so all tasks have lost their GPUs."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU or MIG device, with what does not change while it exists."""

    handle: Any
    uuid: str
    name: str
    index: str
    minor: int | None
    bus: str
    parent: "Device | None" = None
    instance: tuple[int, int] | None = None
    """Of a MIG device: the ids of its GPU instance and compute instance."""


class Xid(NamedTuple):
    uuid: str
    """Of the whole GPU."""
    code: int
    instance: tuple[int, int] | None
    """The MIG device with the error; `None` for the whole GPU."""


class DeviceScan(NamedTuple):
    devices: list[Device]
    """In the order of the bus, MIG devices in place of their GPU."""
    notes: list[str]
    """Remarks for the host's owner."""
    nameless: int
    """Number of GPUs whose UUID the driver does not report."""


class NvmlSession:
    """May be used from several threads. No call may be under way when it is closed."""

    def __init__(self, on_xid: Callable[[Xid], None], on_failure: Callable[[], None]) -> None:
        """Both functions are called in the session's own thread. Raises DriverUnavailable."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise DriverUnavailable(_reason(error), error.value) from error
        self.driver = _text(_optional(pynvml.nvmlSystemGetDriverVersion) or "unknown")
        cuda = _optional(pynvml.nvmlSystemGetCudaDriverVersion)
        self.cuda = None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}"
        self._on_xid = on_xid
        self._on_failure = on_failure
        self._known: dict[int | None, Device] = {}
        """Whole GPUs by the address of their handle, and by the index that they had last."""
        self._last: dict[int, Device] = {}
        self._mig: dict[str, list[Device]] = {}
        """The MIG devices of each GPU that has MIG on, by its UUID."""
        self._sampled: dict[str, int] = {}
        """Time of the newest sample of use by process that was read, by UUID."""
        self._uuids: dict[int | None, str] = {}
        """GPUs whose events are subscribed to, by the address of their handle."""
        self._closing = threading.Event()
        self._events = _optional(pynvml.nvmlEventSetCreate)
        self._thread = threading.Thread(target=self._listen, name="nvml-events", daemon=True)
        if self._events is not None:
            self._thread.start()

    def close(self) -> None:
        self._closing.set()
        with suppress(pynvml.NVMLError):
            if self._events is not None:
                self._thread.join()
                pynvml.nvmlEventSetFree(self._events)
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def devices(self) -> DeviceScan:
        """Return the devices that exist now. Raises SessionEnded."""
        try:
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            raise SessionEnded(str(error)) from error
        devices: list[Device] = []
        notes: list[str] = []
        nameless = 0
        for index in range(count):
            try:
                gpu = self._gpu_at(index)
            except pynvml.NVMLError:
                nameless += 1
                continue
            if gpu is None:
                continue
            self._subscribe_to(gpu)
            parts = self._allocatable(gpu)
            devices += parts
            if not parts:
                notes.append(
                    f"MIG is on for {gpu.name} ({gpu.uuid}), but it has no MIG devices: make some "
                    "with nvidia-smi mig, or turn MIG off"
                )
        return DeviceScan(devices, notes, nameless)

    def read(self, device: Device, owner_of: OwnerOf) -> GpuReading:
        """Read a device. Raises SessionEnded."""
        whole = device.parent or device
        memory = _optional(pynvml.nvmlDeviceGetMemoryInfo, device.handle)
        use = _optional(pynvml.nvmlDeviceGetUtilizationRates, device.handle)
        task_use, self._sampled[device.uuid] = task_utilisation(
            device.handle, self._sampled.get(device.uuid, 0), owner_of
        )
        milliwatts = _optional(pynvml.nvmlDeviceGetPowerUsage, whole.handle)
        reading = GpuReading(
            uuid=device.uuid,
            name=device.name,
            index=device.index,
            minor=device.minor,
            bus=device.bus,
            parent=device.parent.uuid if device.parent else None,
            memory_mb=memory.total >> 20 if memory else 0,
            temperature_c=_optional(
                pynvml.nvmlDeviceGetTemperatureV, whole.handle, pynvml.NVML_TEMPERATURE_GPU
            ),
            utilisation_percent=use and use.gpu,
            task_use=task_use,
            power_w=None if milliwatts is None else milliwatts // 1000,
            uncorrected_errors=_optional(
                pynvml.nvmlDeviceGetTotalEccErrors,
                whole.handle,
                pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                pynvml.NVML_VOLATILE_ECC,
            ),
        )
        return self.read_again(reading, device, owner_of)

    def read_again(self, reading: GpuReading, device: Device, owner_of: OwnerOf) -> GpuReading:
        """Update only what decides whether the device may be allocated. Raises SessionEnded."""
        whole = device.parent or device
        try:
            # In this order: a process that begins in between is seen with memory that is not
            # counted yet, which is harmless; the other way round it would look like a leak.
            used = _used_mb(device.handle)
            graphics = _optional(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3, device.handle)
            processes = _processes(device.handle)
            action = _recovery_action(whole.handle)
        except pynvml.NVMLError as error:
            return _failed(reading, error)
        return replace(
            reading,
            used_mb=used,
            graphics_mb=sum((p.usedGpuMemory or 0) >> 20 for p in graphics or ()),
            processes=tuple(
                _process(pid, size, owner_of) for pid, size in sorted(processes.items())
            ),
            recovery_action=action,
            lost=None,
            trouble=None,
        )

    def _gpu_at(self, index: int) -> Device | None:
        """Return the GPU with an index; `None` if it is lost. Raises SessionEnded, NVMLError."""
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            gpu = self._known.get(_address(handle))
            self._last[index] = gpu or _describe(index, handle)
        except pynvml.NVMLError as error:
            if error.value in _SESSION_ENDED:
                raise SessionEnded(str(error)) from error
            if error.value in _GPU_LOST:
                return None
            if index not in self._last:
                raise
            # It exists but has a fault, which reading it reports.
            return self._last[index]
        self._known[_address(handle)] = self._last[index]
        return self._last[index]

    def _allocatable(self, gpu: Device) -> list[Device]:
        """Return what can be allocated: its MIG devices, or the GPU itself."""
        modes = _optional(pynvml.nvmlDeviceGetMigMode, gpu.handle)
        if modes is None:  # it never had any, or it is lost with all that it had
            return self._mig.get(gpu.uuid, [gpu])
        if modes[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            self._mig.pop(gpu.uuid, None)
            return [gpu]
        self._mig[gpu.uuid] = list(_mig_devices(gpu))
        return self._mig[gpu.uuid]

    def _subscribe_to(self, gpu: Device) -> None:
        if self._events is None or _address(gpu.handle) in self._uuids:
            return
        wanted = pynvml.nvmlEventTypeXidCriticalError | pynvml.nvmlEventTypeDoubleBitEccError
        with suppress(pynvml.NVMLError):
            offered = pynvml.nvmlDeviceGetSupportedEventTypes(gpu.handle)
            pynvml.nvmlDeviceRegisterEvents(gpu.handle, wanted & offered, self._events)
        self._uuids[_address(gpu.handle)] = gpu.uuid

    # Called in the events thread:

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, _EVENT_MS)
            except pynvml.NVMLError as error:
                if error.value != pynvml.NVML_ERROR_TIMEOUT:
                    self._on_failure()
                    self._closing.wait(_EVENT_MS / 1000)
                continue
            uuid = self._uuids.get(_address(event.device))
            if uuid is None or event.eventType != pynvml.nvmlEventTypeXidCriticalError:
                self._on_failure()  # For example, a memory error: the next reading shows it.
                continue
            instance = (event.gpuInstanceId, event.computeInstanceId)
            about_all = _ANY_INSTANCE in instance
            self._on_xid(Xid(uuid, event.eventData, None if about_all else instance))


def _describe(index: int, handle: Any) -> Device:
    pci = _optional(pynvml.nvmlDeviceGetPciInfo_v3, handle)
    return Device(
        handle,
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        name=_text(_optional(pynvml.nvmlDeviceGetName, handle) or "NVIDIA GPU"),
        index=str(index),
        minor=_optional(pynvml.nvmlDeviceGetMinorNumber, handle),
        bus=_text(pci.busId) if pci else f"{index:08}",
    )


def _mig_devices(gpu: Device) -> Iterator[Device]:
    for number in range(_optional(pynvml.nvmlDeviceGetMaxMigDeviceCount, gpu.handle) or 0):
        try:
            handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu.handle, number)
        except pynvml.NVMLError:
            continue  # no device has this number
        part: int | None = _optional(pynvml.nvmlDeviceGetGpuInstanceId, handle)
        compute: int | None = _optional(pynvml.nvmlDeviceGetComputeInstanceId, handle)
        uuid = _optional(pynvml.nvmlDeviceGetUUID, handle)
        if uuid is None:
            continue  # just removed
        yield Device(
            handle,
            uuid=_text(uuid),
            name=_text(_optional(pynvml.nvmlDeviceGetName, handle) or f"{gpu.name} MIG"),
            index=f"{gpu.index}:{number}",
            minor=gpu.minor,
            bus=gpu.bus,
            parent=gpu,
            instance=None if part is None or compute is None else (part, compute),
        )


def _used_mb(handle: Any) -> int:
    """Return the memory in use, without the driver's own if it reports that separately."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return int(memory.used >> 20)


def _processes(handle: Any) -> dict[int, int | None]:
    """Return the memory in bytes by process id."""
    try:
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
    except pynvml.NVMLError as error:
        if error.value in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND):
            return {}
        raise
    return {process.pid: process.usedGpuMemory for process in processes}


def _process(pid: int, size: int | None, owner_of: OwnerOf) -> GpuProcess:
    mb = None if size is None else size >> 20
    return GpuProcess(pid, processes.name(pid), mb, owner_of(pid))


def _recovery_action(handle: Any) -> int | None:
    field = pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
    values = _optional(pynvml.nvmlDeviceGetFieldValues, handle, [field])
    if values is None or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return int(values[0].value.uiVal)


def _failed(reading: GpuReading, error: pynvml.NVMLError) -> GpuReading:
    if error.value in _SESSION_ENDED:
        raise SessionEnded(str(error)) from error
    if error.value in _GPU_LOST:
        return replace(reading, lost="it has fallen off the bus")
    if error.value == pynvml.NVML_ERROR_RESET_REQUIRED:
        return replace(reading, recovery_action=_RESET_REQUIRED)
    return replace(reading, trouble=f"driver error: {error}")


def _optional(ask: Callable[..., T], *arguments: Any) -> T | None:
    """Return `None` for values that a GPU or driver does not report."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


def _reason(error: pynvml.NVMLError) -> str:
    match error.value:
        case pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return "no NVIDIA driver"
        case pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
            return "NVIDIA's driver is not loaded"
        case pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            return "NVIDIA's driver was updated, and the old one is still loaded"
        case _:
            return f"no response from NVIDIA's driver: {error}"


_NOT_USED = frozenset({pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND})
"""Results of the library when there is no sample: no process used the GPU."""


def task_utilisation(
    handle: Any, since: int, owner_of: OwnerOf
) -> tuple[dict[str, int] | None, int]:
    """Return the highest use by the processes of each task in the samples after `since`, in
    percent, and the time of the newest sample. `None` if the driver does not report use by process,
    as for MIG devices.

    Copies and the engines for video and images count as much as computing.
    """
    try:
        samples = pynvml.nvmlDeviceGetProcessUtilization(handle, since)
    except pynvml.NVMLError as error:
        return ({} if error.value in _NOT_USED else None), since
    by_task: dict[str, int] = {}
    for each in samples:
        if each.timeStamp <= since:
            continue
        owner = owner_of(each.pid) or UNOWNED
        percent = max(each.smUtil, each.memUtil, each.encUtil, each.decUtil)
        by_task[owner] = max(by_task.get(owner, 0), min(percent, 100))
    return by_task, max([since, *(each.timeStamp for each in samples)])
