"""The kind of disk that a folder is on."""

import os
import re
from pathlib import Path

_LOCAL = frozenset(["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs", "zfs"])
"""File systems of this machine's own disks. Others may show late what another machine has written;
those that are not known here count as such."""
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def is_local(folder: Path) -> bool:
    """Return whether a folder is on a disk of this machine, also if others use it through a server
    here. Raises OSError."""
    return kind_of(os.path.realpath(folder), _MOUNTS.read_text(errors="surrogateescape")) in _LOCAL


def kind_of(path: str, mounts: str) -> str:
    """Return the type of the file system of a path without links, by the text of `mountinfo`
    (proc_pid_mountinfo(5)); empty if it is not there."""
    kind, longest = "", -1
    for line in mounts.split("\n"):
        before, _, after = line.partition(" - ")
        fields, types = before.split(" "), after.split(" ")
        if len(fields) < 5:
            continue
        place = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4])
        # Of two mounts at the same place the later one hides the other.
        if f"{path}/".startswith(f"{place.rstrip('/')}/") and len(place) >= longest:
            kind, longest = types[0], len(place)
    return kind
