"""Which processes hold inotify instances: the kernel limits them by uid, and the server needs
one."""

import os
from collections import Counter
from pathlib import Path

SYSCTL = "fs.inotify.max_user_instances"
_MOST_NAMED = 3
_PROC = Path("/proc")


def why_none_is_left() -> str:
    """Return the limit, the processes that hold most instances, and the remedy. Reads all of
    /proc."""
    most = (_PROC / "sys" / SYSCTL.replace(".", "/")).read_text().strip()
    held = _instances(os.geteuid())
    named = ", ".join(
        f"{_name(pid)} (process {pid}) {count}" for pid, count in held.most_common(_MOST_NAMED)
    )
    return (
        f"No inotify instance is left for uid {os.geteuid()}: its processes may have {most}"
        + (f", and most are held by {named}" if named else "")
        + f". Raise the sysctl {SYSCTL}, or end what holds them"
    )


def _instances(uid: int) -> "Counter[int]":
    """Count the open instances of each visible process of this uid."""
    held: Counter[int] = Counter()
    for folder in _PROC.glob("[0-9]*"):
        try:
            if folder.stat().st_uid != uid:
                continue
            for fd in (folder / "fd").iterdir():
                if str(fd.readlink()).endswith("inotify"):
                    held[int(folder.name)] += 1
        except OSError:
            continue  # It has ended meanwhile, or is not readable.
    return held


def _name(pid: int) -> str:
    try:
        text = (_PROC / str(pid) / "comm").read_text(errors="replace")
    except OSError:
        return "?"
    return "".join(c if c.isprintable() else "?" for c in text.strip())
