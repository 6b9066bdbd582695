"""The task's first process, built from `shim/shim.c` (see `shim/README.md`)."""

import os
import pathlib
import platform
import subprocess

_NAMES = {
    "x86_64": "shim-x86_64",
    "amd64": "shim-x86_64",
    "aarch64": "shim-aarch64",
    "arm64": "shim-aarch64",
}

CLAIM_EXISTS = 120
"""The shim's exit status when the attempt was claimed already, or revoked."""
NO_ROOM = 121
"""The shim's exit status when the disk was full before it claimed anything."""
WRONG_VOLUME = 122
"""The shim's exit status when a volume is not the folder that was checked; nothing is claimed."""
_ENDS_SECONDS = 10


class UnsupportedMachineError(RuntimeError):
    """No shim was built for this kind of processor."""


def path(machine: str | None = None) -> pathlib.Path:
    """The shim's executable for a machine, as `platform.machine()` names it; this one by default.

    Raises UnsupportedMachineError for a processor other than x86-64 and aarch64.
    """
    wanted = machine if machine is not None else platform.machine()
    name = _NAMES.get(wanted.lower())
    if name is None:
        raise UnsupportedMachineError(
            f"unsupported processor {wanted!r}: the shim exists for x86_64 and aarch64. Use such a "
            "machine, or add the target to shim/build.sh."
        )
    return pathlib.Path(__file__).with_name(name)


def node_program(name: str) -> pathlib.Path:
    """A program for the nodes of a cluster, for a Python of theirs."""
    return pathlib.Path(__file__).with_name(name)


class PinnedShim:
    """The shim as it was when the server started, even if its file is removed or replaced.

    The folder that an executable unpacks itself into may be removed while it runs, and an upgrade
    puts another shim in its place. No copy of it: the data directory may forbid to execute.
    """

    def __init__(self) -> None:
        """Raises UnsupportedMachineError, OSError, subprocess.TimeoutExpired: it can't be had."""
        self.name = path()
        self._fd = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Without arguments it exits immediately.
            subprocess.run(
                [self.executable], capture_output=True, timeout=_ENDS_SECONDS, check=False
            )
        except BaseException:
            self.close()
            raise

    @property
    def executable(self) -> pathlib.Path:
        """Return the path to execute, in this process's children too: they don't inherit the
        descriptor."""
        return pathlib.Path(f"/proc/{os.getpid()}/fd/{self._fd}")

    def close(self) -> None:
        os.close(self._fd)
