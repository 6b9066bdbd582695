"""Health of GPUs: their readings, and whether they may be allocated.

NVIDIA's catalog of XIDs (docs.nvidia.com/deploy/xid-errors, "Analyzing Xid Errors with the Xid
Catalog", as of October 2025) names an immediate action for each. The table below follows it.
"""

from collections.abc import Collection, Iterable
from enum import IntEnum

from msgspec.structs import replace

from fetchml.core.gpus.allocator import Gpu, Obstacle, ObstacleKind
from fetchml.core.model import Value

_IDLE_SHARE = 0.1
"""Largest share of a GPU's memory that counts as idle use (the driver's own, a hidden display)."""
_TOLERANCE_MB = 512
"""Memory above the idle level that is tolerated: the driver's own use varies a little."""
_NAMED = 2
"""Processes that a message names; the rest are counted."""


class XidClass(IntEnum):
    """Severity of an XID; the higher, the worse."""

    NOTE = 0
    """Informational: no action follows from it alone."""
    APPLICATION = 1
    """The program's own fault, or gone with the program. The GPU is healthy."""
    HIT = 2
    """The GPU made the program fail and is healthy again: the task is retried, uncounted."""
    SICK = 3
    """The GPU must be reset or examined: nothing more is started on it."""
    LOST = 4
    """The GPU is gone until the machine is restarted."""


def _application(words: str, *codes: int) -> dict[int, tuple[XidClass, str]]:
    return dict.fromkeys(codes, (XidClass.APPLICATION, words))


XIDS: dict[int, tuple[XidClass, str]] = {
    # RESTART_APP
    **_application("GPU stopped processing", 8),
    **_application("invalid or corrupted push buffer", 11, 25, 32, 80),
    **_application("graphics engine exception", 13),
    **_application("GPU memory page fault", 31),
    **_application("copy engine exception", 39, 40, 41, 70, 71, 72, 75, 76, 77, 85),
    **_application("copy engine exception", *range(126, 136)),
    **_application("video or JPEG engine exception", 60, 68, 82, 83, 84, 88, 89),
    **_application("video or JPEG engine exception", *range(96, 106), 142),
    **_application("graphics engine class error", 69),
    **_application("optical flow engine exception", 86, 139),
    # IGNORE, and the program has ended with it
    **_application("GPU stopped processing", 43),
    **_application("graphics engine fault during context switch", 44),
    **_application("CUDA fast path error", 141),
    # RESTART_APP, for an error of the memory that was kept from spreading
    94: (XidClass.HIT, "contained memory error"),
    # IGNORE, or only beside another XID. For the last ones the driver's recovery action decides,
    # which is read by itself: they have mild and fatal forms that the event does not tell apart.
    37: (XidClass.NOTE, "driver firmware error"),
    38: (XidClass.NOTE, "driver firmware error"),
    45: (XidClass.NOTE, "cleanup after another error"),
    63: (XidClass.NOTE, "memory row remapped"),
    66: (XidClass.NOTE, "illegal access by the driver"),
    67: (XidClass.NOTE, "illegal access by the driver"),
    92: (XidClass.NOTE, "many single-bit memory errors"),
    93: (XidClass.NOTE, "wear limit of the InfoROM"),
    106: (XidClass.NOTE, "test message"),
    107: (XidClass.NOTE, "test message"),
    108: (XidClass.NOTE, "NVLink translation error of another GPU"),
    121: (XidClass.NOTE, "chip-to-chip link error"),
    137: (XidClass.NOTE, "NVLink privilege error"),
    144: (XidClass.NOTE, "NVLink error"),
    145: (XidClass.NOTE, "NVLink error"),
    146: (XidClass.NOTE, "NVLink error"),
    147: (XidClass.NOTE, "NVLink error"),
    148: (XidClass.NOTE, "NVLink error"),
    149: (XidClass.NOTE, "NVLink error"),
    150: (XidClass.NOTE, "NVLink error"),
    152: (XidClass.NOTE, "accelerator error"),
    153: (XidClass.NOTE, "accelerator error"),
    154: (XidClass.NOTE, "recovery action changed"),
    160: (XidClass.NOTE, "memory channel retired"),
    162: (XidClass.NOTE, "power smoothing on"),
    163: (XidClass.NOTE, "power smoothing off"),
    164: (XidClass.NOTE, "power smoothing is wearing out"),
    165: (XidClass.NOTE, "power smoothing is worn out"),
    # RESET_GPU, CHECK_MECHANICALS, CONTACT_SUPPORT, and the like
    46: (XidClass.SICK, "GPU stopped processing"),
    48: (XidClass.SICK, "double-bit memory error"),
    54: (XidClass.SICK, "no auxiliary power"),
    62: (XidClass.SICK, "internal controller halted"),
    64: (XidClass.SICK, "memory row could not be remapped"),
    74: (XidClass.SICK, "NVLink error"),
    95: (XidClass.SICK, "uncontained memory error"),
    109: (XidClass.SICK, "context switch timed out"),
    110: (XidClass.SICK, "security fault"),
    119: (XidClass.SICK, "system processor does not answer"),
    120: (XidClass.SICK, "system processor error"),
    136: (XidClass.SICK, "link training failed"),
    140: (XidClass.SICK, "unrecovered memory error"),
    143: (XidClass.SICK, "initialisation failed"),
    151: (XidClass.SICK, "key rotation failed"),
    155: (XidClass.SICK, "NVLink error"),
    156: (XidClass.SICK, "a part of it was retired"),
    157: (XidClass.SICK, "a part of it could not be retired"),
    158: (XidClass.SICK, "fatal timeout"),
    167: (XidClass.SICK, "fatal timeout on the bus"),
    171: (XidClass.SICK, "uncorrectable memory error"),
    172: (XidClass.SICK, "uncorrectable memory error"),
    # RESTART_BM
    79: (XidClass.LOST, "it has fallen off the bus"),
}

RECOVERY_ACTIONS = {
    1: "it must be reset",
    2: "the machine must be restarted",
    3: "its work with other GPUs must end",
    4: "its work must end, and it must be reset",
    5: "its IMEX domain must be recovered",
    6: "its bus must be reset",
    7: "the machine must be restarted",
}
"""Values of nvmlDeviceGpuRecoveryAction, the action that the driver requests; 0 is none."""


class XidSeen(Value, frozen=True):
    """An XID that the driver reported."""

    at: int
    """Milliseconds since the epoch (UTC)."""
    code: int


class GpuProcess(Value, frozen=True):
    """A process that computes on a GPU."""

    pid: int
    name: str = ""
    """Empty if it is not visible to the server."""
    memory_mb: int | None = None
    """MiB; `None` if the driver does not report it."""
    task_id: str | None = None
    """The task that it belongs to; `None` if it belongs to none."""


class GpuReading(Value, frozen=True):
    """A reading of a GPU or MIG device. `None`: the driver does not report it.

    Sizes are in MiB.
    """

    uuid: str
    name: str = ""
    index: str = ""
    """NVML's index ("0"); of a MIG device, its GPU's index and its own ("0:1")."""
    minor: int | None = None
    """Number of the device file /dev/nvidiaN; of a MIG device, its GPU's."""
    bus: str = ""
    """PCI address."""
    position: int = 0
    """Position on the bus."""
    parent: str | None = None
    """UUID of the GPU that a MIG device is a part of; `None` for a whole GPU."""
    memory_mb: int = 0
    used_mb: int | None = None
    graphics_mb: int = 0
    """Memory of graphics processes."""
    temperature_c: int | None = None
    utilisation_percent: int | None = None
    task_use: dict[str, int] | None = None
    """Highest use by the processes of each task since the last reading, in percent, by the task's
    id; `UNOWNED` for other processes."""
    power_w: int | None = None
    """Watts that the whole GPU draws."""
    processes: tuple[GpuProcess, ...] = ()
    uncorrected_errors: int | None = None
    """Uncorrectable memory errors (ECC) since the driver was loaded or the GPU was reset."""
    recovery_action: int | None = None
    """A key of RECOVERY_ACTIONS, or 0."""
    xids: tuple[XidSeen, ...] = ()
    """The newest XIDs since the driver was loaded or an admin undrained the GPU."""
    lost: str | None = None
    """The reason why it is gone; `None` if it is there."""
    trouble: str | None = None
    """The reason why its state is unknown at the moment; `None` if it is known."""

    @property
    def unaccounted_mb(self) -> int | None:
        """Memory (MiB) in use by no visible process; `None` if it can't be computed."""
        sizes = [process.memory_mb for process in self.processes]
        reported = [size for size in sizes if size is not None]
        if self.used_mb is None or len(reported) < len(sizes):
            return None
        return max(0, self.used_mb - self.graphics_mb - sum(reported))


def xid_class(code: int) -> XidClass:
    """The severity of an XID. A code that is not in the catalog counts as SICK."""
    return XIDS.get(code, (XidClass.SICK, ""))[0]


def describe_xid(code: int) -> str:
    words = XIDS.get(code, (XidClass.SICK, ""))[1]
    return f"XID {code} ({words})" if words else f"XID {code}"


def worst_xid(xids: Iterable[XidSeen], since: int = 0) -> XidSeen | None:
    """The worst XID from `since` on, the first of equals: it decides about a task of that time."""
    return max((x for x in xids if x.at >= since), key=lambda x: xid_class(x.code), default=None)


def idle_level(reading: GpuReading, before: int | None) -> int | None:
    """Memory (MiB) in use while nothing runs: the least ever seen, and never a large share."""
    seen = reading.unaccounted_mb
    if seen is None:
        return before
    most = int(reading.memory_mb * _IDLE_SHARE)
    return min(seen, most if before is None else before)


def derive(reading: GpuReading, idle_mb: int | None = None) -> Gpu:
    """Return the scheduler's view of the GPU. `idle_mb`: its `idle_level`; `None` if not known."""
    return Gpu(
        uuid=reading.uuid,
        name=reading.name,
        memory_mb=reading.memory_mb,
        position=reading.position,
        parent=reading.parent,
        blocked=_lost(reading) or _sick(reading) or _busy(reading, idle_mb),
    )


def fault(reading: GpuReading, idle_mb: int | None, holders: Collection[str]) -> Obstacle | None:
    """Return why a GPU can't be allocated again after a task left it; `None` if it can.

    `holders`: ids of tasks that still share the GPU; their processes may stay.
    """
    processes = tuple(
        process if process.task_id in holders else replace(process, task_id=None)
        for process in reading.processes
    )
    return derive(replace(reading, processes=processes), idle_mb).blocked


def _lost(reading: GpuReading) -> Obstacle | None:
    if reading.lost:
        return Obstacle(ObstacleKind.LOST, reading.lost)
    worst = worst_xid(reading.xids)
    if worst and xid_class(worst.code) is XidClass.LOST:
        return Obstacle(ObstacleKind.LOST, XIDS[worst.code][1])
    return None


def _sick(reading: GpuReading) -> Obstacle | None:
    if reading.trouble:
        return Obstacle(ObstacleKind.UNKNOWN, reading.trouble)
    worst = worst_xid(reading.xids)
    if worst and xid_class(worst.code) is XidClass.SICK:
        return Obstacle(ObstacleKind.SICK, describe_xid(worst.code))
    if reading.recovery_action:
        action = RECOVERY_ACTIONS.get(reading.recovery_action, "the driver requests a recovery")
        return Obstacle(ObstacleKind.SICK, action)
    # Where the driver says that nothing need be done, such errors were dealt with.
    if reading.uncorrected_errors and reading.recovery_action is None:
        errors = f"{reading.uncorrected_errors} uncorrectable memory errors (ECC)"
        return Obstacle(ObstacleKind.SICK, errors)
    return None


def _busy(reading: GpuReading, idle_mb: int | None) -> Obstacle | None:
    strangers = [process for process in reading.processes if process.task_id is None]
    if strangers:
        named = ", ".join(_describe_process(process) for process in strangers[:_NAMED])
        more = f" and {len(strangers) - _NAMED} more" if len(strangers) > _NAMED else ""
        return Obstacle(ObstacleKind.BUSY, f"{named}{more}")
    left = reading.unaccounted_mb
    if left is not None and idle_mb is not None and left > idle_mb + _TOLERANCE_MB:
        unseen = f"{_size(left)} of its memory are in use, by no visible process"
        return Obstacle(ObstacleKind.BUSY, unseen)
    return None


def _describe_process(process: GpuProcess) -> str:
    size = "" if process.memory_mb is None else f", {_size(process.memory_mb)}"
    return f"{process.name or 'a process'} (pid {process.pid}{size})"


def _size(mb: int) -> str:
    return f"{mb} MiB" if mb < 1024 else f"{mb / 1024:.1f} GiB"
