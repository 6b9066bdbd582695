"""Measures the GPUs of an attempt on a node of a cluster, for the FetchML server.

    python3 -IS gpu_samples.py sample

The node's own Python runs this file alone, so it needs no more than Python 3.8 without packages. It
is a child of the shim, with the attempt's run folder open as RUN. Every 10 seconds it replaces the
record `gpus` there: `at_ms`, and for each GPU its number in `node` (`gpuN`) with utilisation in
percent, used and total memory in MiB, temperature in degrees Celsius, power in watts, and the
highest utilisation since the last record (read every 2 seconds), separated by commas; `-` where the
driver does not report one. Without NVIDIA's library it ends at once.
"""

from __future__ import annotations  # Python 3.8 can't evaluate them.

import ctypes
import os
import sys
import time
from contextlib import suppress
from typing import Any

RUN = 9
SAMPLE_SECONDS = 2.0
LOOKS = 5
"""In the time of one record."""
MOST_GPUS = 64
LIBRARY = "libnvidia-ml.so.1"
_MEMORY_V2 = ctypes.sizeof(ctypes.c_uint64) * 5 | 2 << 24
_TEMPERATURE_V1 = ctypes.sizeof(ctypes.c_uint32) * 3 | 1 << 24


class MemoryV1(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_uint64),
        ("free", ctypes.c_uint64),
        ("used", ctypes.c_uint64),
    )


class MemoryV2(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64),
        ("free", ctypes.c_uint64),
        ("used", ctypes.c_uint64),
    )


class Library:
    """NVML. `None`: the driver does not report it."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._nvml = ctypes.CDLL(LIBRARY)
        if self._call("nvmlInitWithFlags", 0) != 0:
            raise OSError("the driver does not answer")

    def devices(self) -> dict[int, Any]:
        """Return the GPUs by the number of their device file."""
        count, devices = ctypes.c_uint(), {}
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        for index in range(min(count.value, MOST_GPUS)):
            device, minor = ctypes.c_void_p(), ctypes.c_uint()
            if self._call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(device)) != 0:
                continue
            if self._call("nvmlDeviceGetMinorNumber", device, ctypes.byref(minor)) == 0:
                devices[minor.value] = device
        return devices

    def measure(self, device: Any) -> list[int | None]:
        """Return utilisation, used and total memory, temperature, power."""
        power = ctypes.c_uint()
        watts = None
        if self._call("nvmlDeviceGetPowerUsage", device, ctypes.byref(power)) == 0:
            watts = power.value // 1000
        memory = self._memory(device)
        return [self.utilisation(device), *memory, self._temperature(device), watts]

    def utilisation(self, device: Any) -> int | None:
        rates = (ctypes.c_uint * 2)()
        is_known = self._call("nvmlDeviceGetUtilizationRates", device, rates) == 0
        return rates[0] if is_known else None

    def _memory(self, device: Any) -> tuple[int | None, int | None]:
        for name, info in (
            ("nvmlDeviceGetMemoryInfo_v2", MemoryV2(version=_MEMORY_V2)),
            ("nvmlDeviceGetMemoryInfo", MemoryV1()),
        ):
            if self._call(name, device, ctypes.byref(info)) == 0:
                return info.used >> 20, info.total >> 20
        return None, None

    def _temperature(self, device: Any) -> int | None:
        newer = (ctypes.c_uint * 3)(_TEMPERATURE_V1, 0, 0)
        if self._call("nvmlDeviceGetTemperatureV", device, newer) == 0:
            return newer[2]
        older = ctypes.c_uint()
        if self._call("nvmlDeviceGetTemperature", device, 0, ctypes.byref(older)) == 0:
            return older.value
        return None

    def _call(self, name: str, *arguments: Any) -> int:
        """Return NVML's error; that of a missing function where this driver does not have it."""
        try:
            return int(getattr(self._nvml, name)(*arguments))
        except AttributeError:
            return -1


def own_numbers() -> list[int]:
    """Return the numbers of the attempt's GPUs, as the job's script has recorded them."""
    with open("node", opener=in_run_folder) as record:
        lines = dict(line.partition("=")[::2] for line in record.read(4096).splitlines())
    return [int(each) for each in lines.get("gpus", "").split(",") if each.isdigit()]


def in_run_folder(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW, 0o600, dir_fd=RUN)


def sample(nvml: Library, numbers: list[int], peaks: dict[int, int]) -> None:
    """Raise the highest utilisation of each GPU."""
    devices = nvml.devices()
    for number in numbers[:MOST_GPUS]:
        percent = nvml.utilisation(devices[number]) if number in devices else None
        if percent is not None:
            peaks[number] = max(percent, peaks.get(number, 0))


def write(nvml: Library, numbers: list[int], peaks: dict[int, int]) -> None:
    """Raises OSError."""
    lines, devices = [f"at_ms={int(time.time() * 1000)}"], nvml.devices()
    for number in numbers[:MOST_GPUS]:
        if number in devices:
            values = [*nvml.measure(devices[number]), peaks.get(number)]
            shown = ",".join("-" if each is None else str(each) for each in values)
            lines.append(f"gpu{number}={shown}")
    draft = f"gpus.{os.getpid()}"
    with open(draft, "w", opener=in_run_folder) as record:
        record.write("\n".join(lines) + "\n")
    os.rename(draft, "gpus", src_dir_fd=RUN, dst_dir_fd=RUN)


def main() -> int:
    try:
        nvml, numbers = Library(), own_numbers()
    except OSError:
        return 1
    peaks: dict[int, int] = {}
    sample(nvml, numbers, peaks)
    while numbers:
        with suppress(OSError):  # A full disk, or one that is away for a while.
            write(nvml, numbers, peaks)
            peaks.clear()
        for _ in range(LOOKS):
            time.sleep(SAMPLE_SECONDS)
            sample(nvml, numbers, peaks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
