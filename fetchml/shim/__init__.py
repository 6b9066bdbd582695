"""The task's first process, built from `shim/shim.c` (see `shim/README.md`)."""

import pathlib
import platform

_NAMES = {
    "x86_64": "shim-x86_64",
    "amd64": "shim-x86_64",
    "aarch64": "shim-aarch64",
    "arm64": "shim-aarch64",
}


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
            f"tasks cannot run on a {wanted!r} processor: FetchML has its shim for x86_64 and "
            "aarch64. Use such a machine, or add the target to shim/build.sh."
        )
    return pathlib.Path(__file__).with_name(name)
