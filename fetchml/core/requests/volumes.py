"""Volumes: folders of the host that tasks of certain users may mount."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from fetchml.core.model import Value
from fetchml.core.requests.checks import described, no_duplicates
from fetchml.core.storage import Used, size

MAX_VOLUMES = 32
"""Volumes of one task."""
MAX_NAME = 64
PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
FORBIDDEN = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run", "/sbin",
    "/sys", "/usr", "/var/lib/containerd", "/var/lib/docker", "/var/log", "/var/run",
)  # fmt: skip
"""Folders of the system: no volume is one of them, lies in one, or contains one."""

VolumeNames = Annotated[
    tuple[
        Annotated[
            str,
            Meta(
                max_length=MAX_NAME,
                pattern=rf"\A{PATTERN}\Z",
                extra=described("must be a name of letters, digits and . _ -"),
            ),
        ],
        ...,
    ],
    Meta(max_length=MAX_VOLUMES, extra=no_duplicates("a volume")),
]
"""The field `volumes` of a create request."""


class Volume(Value, frozen=True):
    path: str
    """Absolute, without links."""
    read_only: bool = True
    users: tuple[str, ...] = ()
    """Names of the users whose tasks may mount it; empty for every user."""
    max_bytes: int = 0
    """Disk use from which on no task that writes to it starts; 0: no limit."""

    def is_for(self, user: str) -> bool:
        return not self.users or user in self.users


def fault(names: Sequence[str], user: str, configured: Mapping[str, Volume]) -> str | None:
    """Return why a task of this user can't have these volumes; `None` if it can. A volume of others
    does not show that it exists."""
    for name in names:
        if name not in configured or not configured[name].is_for(user):
            return f"there is no volume {name!r} that you may use"
    return None


def room_fault(name: str, volume: Volume, used: Used, most_files: int) -> str | None:
    """Return why a volume takes no further writer; `None` if it does. `most_files`: the number of
    files and folders from which on the rest is not counted."""
    if volume.read_only or not volume.max_bytes:
        return None
    if used.bytes >= volume.max_bytes:
        reason = f"takes {size(used.bytes)} of {size(volume.max_bytes)} allowed"
    elif used.files >= most_files:
        reason = f"has more than {most_files} files and folders, too many to be counted"
    else:
        return None
    return (
        f"The volume {name} {reason}: remove files from it, or ask the owner of the server to "
        f"raise [volumes.{name}] max_gb"
    )


def path_fault(path: str, own: Sequence[str]) -> str | None:
    """Return why a folder can't be a volume; `None` if it can. `path`: without links. `own`:
    folders of the server, likewise."""
    for folder in FORBIDDEN:
        if _overlap(path, folder):
            return f"{path} is a folder of the system, lies in one, or contains one ({folder})"
    for folder in own:
        if _overlap(path, folder):
            return f"{path} lies in a folder of the server or contains one ({folder})"
    return None


def overlap_fault(volumes: Mapping[str, Volume], datasets: str | None) -> str | None:
    """Return which settings name folders of which one lies in the other, while tasks write to one
    of them; `None` if there are none. `datasets`: the root of the datasets, without links.

    A task that writes to the outer folder could put a link in the place of the inner one. Two
    volumes of one folder are allowed: users who read it, and users who also write.
    """
    for number, (name, volume) in enumerate(volumes.items()):
        setting = f"[volumes.{name}] path"
        if datasets is not None and not volume.read_only and _overlap(volume.path, datasets):
            return _overlapping(setting, volume.path, "[datasets] root", datasets)
        for other, second in list(volumes.items())[:number]:
            writable = not (volume.read_only and second.read_only)
            if writable and volume.path != second.path and _overlap(volume.path, second.path):
                return _overlapping(setting, volume.path, f"[volumes.{other}] path", second.path)
    return None


def _overlapping(setting: str, path: str, other: str, folder: str) -> str:
    return (
        f"{setting} {path} and {other} {folder} lie in one another, and tasks may write there: a "
        "task could replace the inner folder by a link to any file of this host. Choose another "
        'folder for one of them, or set mode = "ro"'
    )


def _overlap(one: str, other: str) -> bool:
    first, second = f"{one.rstrip('/')}/", f"{other.rstrip('/')}/"
    return first.startswith(second) or second.startswith(first)
