"""Programs of this clone, run as another user."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def as_user(uid: int, *command: str) -> list[str]:
    """`command`, run as user `uid` with its group alone, wherever this clone lies. Needs root."""
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return [*enterable(), *user, *command]


def as_service(
    uid: int, capabilities: Iterable[str], *command: str, group: int = NOBODY
) -> list[str]:
    """`command`, run as systemd starts a service: as user `uid` with one more `group`, and with
    these capabilities (`CAP_…`) as ambient and bounding set. Needs root."""
    words = [name.removeprefix("CAP_").lower() for name in capabilities]
    ambient = ",".join(f"+{word}" for word in words) or "-all"
    return [
        *enterable(),
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={group}", "--no-new-privs"),
        *(f"--inh-caps={ambient}", f"--ambient-caps={ambient}"),
        f"--bounding-set={','.join(['-all', *(f'+{word}' for word in words)])}",
        *command,
    ]


def enterable() -> list[str]:
    """The beginning of a command that other users can run from this clone.

    Empty if they can enter the clone as it is. Below a folder that is closed to them, such as
    `/root`, the command gets a mount namespace of its own, in which that folder is an open one
    that holds the clone and the interpreter alone, under their own names.
    """
    closed = [folder for folder in map(_closed_folder, _needed()) if folder is not None]
    if not closed:
        return []
    folder = min(closed, key=lambda path: len(path.parts))
    inside = [path for path in _needed() if path.is_relative_to(folder)]
    lines = ["set -eu", "held=$(mktemp -d)", "mount --make-rprivate /"]
    for number, path in enumerate(inside):
        lines += [f"mkdir $held/{number}", f"mount --rbind {shlex.quote(str(path))} $held/{number}"]
    lines.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(folder))}")
    for number, path in enumerate(inside):
        place = shlex.quote(str(path))
        lines += [f"mkdir -p {place}", f"mount --rbind $held/{number} {place}"]
        lines.append(f"umount --lazy $held/{number}")
    lines += ['rm -r "$held"', f"cd {shlex.quote(str(Path.cwd()))}", 'exec "$@"']
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "as_user"]


def _needed() -> list[Path]:
    """This clone, and the interpreter where it lies elsewhere."""
    base = Path(sys.base_prefix).resolve()
    return [ROOT] if base.is_relative_to(ROOT) else [ROOT, base]


def _closed_folder(path: Path) -> Path | None:
    """The outermost folder above `path` that other users can't enter; `None` if there is none."""
    for folder in reversed(path.parents):
        if not os.stat(folder).st_mode & 0o001:  # noqa: PTH116 - shorter than Path.stat here
            return folder
    return None
