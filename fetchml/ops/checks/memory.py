"""Whether the memory that all callers together can occupy is there."""

import re
from collections.abc import Iterator
from pathlib import Path

from fetchml.config.data_dir import SERVICE_DATA
from fetchml.config.settings import Settings
from fetchml.files.data_dir import holder
from fetchml.ops import bounds
from fetchml.ops.systemd_unit import UNIT, BadArgument, serve_options
from fetchml.system import memory_limits
from fetchml.system.memory_limits import MemoryLimit
from fetchml.views import Finding

_MEMORY_MAX = re.compile(r"^MemoryMax=(\d{1,15})([KMGT]?)\s*$", re.MULTILINE)
_SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def memory(settings: Settings, unit: Path = UNIT) -> Finding:
    """Compare the sum of all limits with the memory that the server may take. `unit`: the file of
    the installed service."""
    most = bounds.total_bytes(settings)
    granted = min(limits(settings, unit))
    finding = (
        f"at most {most >> 20} MiB for the server, whatever its callers do, "
        f"of {granted.most_bytes >> 20} MiB: {granted.source}"
    )
    if most <= granted.most_bytes:
        return Finding("memory", finding)
    largest = max(bounds.memory_bounds(settings), key=lambda bound: bound.most_bytes)
    fix = (
        f"Raise it, or lower [server] max_connections. The largest part is for {largest.name}: "
        f"{largest.most_bytes >> 20} MiB."
    )
    return Finding("memory", finding, fix)


def limits(settings: Settings, unit: Path) -> Iterator[MemoryLimit]:
    """Yield the limits of the server's memory: of the one that runs on the data directory, else of
    its service, else of a server that is started from here."""
    yield memory_limits.of_host()
    try:
        pid = holder(settings.data_dir)
    except OSError:  # Another check reports the reason.
        pid = None
    if pid is None and (found := _of_unit(settings.data_dir, unit)) is not None:
        yield from found
    elif (of_group := memory_limits.of_process(pid)) is not None:
        yield of_group


def _of_unit(data_dir: Path, unit: Path) -> list[MemoryLimit] | None:
    """Return the limit of the service on this data directory, none or one; `None` if there is no
    such service. As in systemd, the last line counts, and drop-ins come after the unit."""
    try:
        text = unit.read_text()
        options = serve_options(text)
        files = sorted(unit.with_name(f"{unit.name}.d").glob("*.conf"))
        text = "\n".join([text, *(file.read_text() for file in files)])
    except (OSError, BadArgument):
        return None
    if Path(options.get("data_dir", SERVICE_DATA)) != data_dir:
        return None
    found = _MEMORY_MAX.findall(text)[-1:]
    return [
        MemoryLimit(int(number) << _SHIFTS[suffix], f"MemoryMax of {unit.name}")
        for number, suffix in found
    ]
