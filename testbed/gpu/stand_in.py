"""A machine with NVIDIA GPUs that are not there: what NVIDIA's binding loads tells of them."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pynvml
import pytest

HERE = Path(__file__).parent
LIBRARIES = {"nvml.c": "libnvidia-ml.so.1", "cuda.c": "libcuda.so.1"}


def build(folder: Path, *flags: str) -> None:
    """Without a soname: who loads one by path does not get it for all others by name."""
    for source, library in LIBRARIES.items():
        command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O1", "-Wall"]
        command += ["-Wextra", "-Werror", *flags, str(HERE / source), "-o", str(folder / library)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr


def uuid(number: int) -> str:
    return f"GPU-{number:08x}-0000-4000-8000-{number:012x}"


def gpu(number: int, **facts: object) -> str:
    """A line of the stand-in's file."""
    usual = {
        "name": "NVIDIA_H100_80GB_HBM3",
        "memory": 81559,
        "used": 4,
        "temp": 30 + number,
        "use": 0,
        "minor": number,
        "bus": f"00000000:{number + 16:02X}:00.0",
        "mig": 0,
        "ecc": 0,
        "action": 0,
    }
    told = {key: value for key, value in (usual | facts).items() if value is not None}
    return " ".join(["gpu", uuid(number), *(f"{key}={value}" for key, value in told.items())])


def mig(number: int, parent: int, **facts: object) -> str:
    usual = {"name": "NVIDIA_H100_MIG_1g.10gb", "memory": 9856, "used": 4, "gi": number, "ci": 0}
    told = " ".join(f"{key}={value}" for key, value in (usual | facts).items())
    return f"mig MIG-{number:08x} parent={uuid(parent)} {told}"


class GpuBox:
    """The libraries and the file that they read, in one folder."""

    def __init__(self, folder: Path, built: Path) -> None:
        folder.mkdir()
        for library in LIBRARIES.values():
            shutil.copy(built / library, folder)
        self.folder = folder
        self.lines: list[str] = []

    def set(self, *lines: str, driver: str | None = "570.86.10", generation: int = 0) -> None:
        """What the libraries tell from now on."""
        first = [f"driver {driver}"] if driver else []
        self.lines = [*first, f"generation {generation}", *lines]
        draft = self.folder / "gpus.new"
        draft.write_text("".join(f"{line}\n" for line in self.lines))
        draft.rename(self.folder / "gpus.txt")

    def add(self, *lines: str) -> None:
        with (self.folder / "gpus.txt").open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For the binding in this very process."""
        library = ctypes.CDLL(str(self.folder / LIBRARIES["nvml.c"]))
        monkeypatch.setattr(pynvml, "nvmlLib", library)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    @property
    def environment(self) -> dict[str, str]:
        """For a process of its own."""
        return os.environ | {"LD_LIBRARY_PATH": str(self.folder)}


@contextmanager
def process(name: str = "python3", **variables: str) -> Iterator[int]:
    """The pid of a process that is called so, and ends at the latest with this block.
    `variables`: of its environment, beside this one's."""
    rename = f"open('/proc/self/comm', 'w').write({name!r}); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", rename],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | variables,
    ) as started:
        try:
            assert started.stdout is not None
            started.stdout.readline()
            yield started.pid
        finally:
            started.kill()


def end(pid: int) -> None:
    """Of our own child, and gone altogether: no zombie is left."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
