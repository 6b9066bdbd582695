"""What the service's user must have: looked at before anything is changed.

All of this needs root, as installing does.
"""

import grp
import os
import pwd
import subprocess
from contextlib import suppress
from pathlib import Path

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.files.data_dir_marks import may_become_data_dir
from fetchml.ops.systemd_unit import USER

NO_ONE = 65534
MAKE_USER = (
    *("useradd", "--system", "--user-group", "--no-create-home"),
    *("--shell", "/usr/sbin/nologin"),
)


def user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None


def docker_group() -> int | None:
    try:
        return grp.getgrnam("docker").gr_gid
    except KeyError:
        return None


def require_readable(file: Path) -> None:
    """Raises CommandError, which says what lets the service's user read it."""
    if not file.exists():
        raise CommandError(f"{file} is missing", code=ExitCode.USAGE)
    if _may("-r", file):
        return
    # A link may lead through folders other than those of its own name.
    ways = [*reversed(file.parents), *reversed(file.resolve().parents)]
    closed = next((folder for folder in ways if not _may("-x", folder)), None)
    if closed is None:
        mend = f"chgrp {USER} {file} && chmod g+r {file}"
    else:
        mend = (
            "Move it to a folder that all may enter, or: "
            f"chgrp {USER} {closed} && chmod g+x {closed}"
        )
    if user() is None:
        mend = f"{mend}\nBefore that, make the user: {' '.join((*MAKE_USER, USER))}"
    raise CommandError(f"The service's user {USER} may not read {file}. Nothing was changed", mend)


def require_writable(folder: Path) -> None:
    """For a folder that is there already. Raises CommandError."""
    if folder.exists() and not (folder.is_dir() and _may("-w", folder)):
        raise CommandError(
            f"The service's user {USER} may not write to {folder}. Nothing was changed",
            f"chown {USER}: {folder}",
        )


def require_data_dir(data_dir: Path) -> None:
    """Require a data directory that is missing, empty, or FetchML's, since the installation gives
    all of it to the service's user. Raises CommandError."""
    if may_become_data_dir(data_dir):
        return
    raise CommandError(
        f"{data_dir} is neither empty nor a data directory of FetchML. Nothing was changed",
        "Name another with --data-dir.",
        ExitCode.USAGE,
    )


def strangers(data_dir: Path) -> list[int]:
    """Users other than the service's who have files of the server's own, as root has after a
    restore. What tasks made may be anybody's."""
    if not data_dir.exists():
        return []
    own = [data_dir, *data_dir.iterdir()]
    if (data_dir / "store").is_dir() and not (data_dir / "store").is_symlink():
        own += (data_dir / "store").iterdir()
    owners = set[int]()
    for path in own:
        with suppress(FileNotFoundError):  # a server may run
            owners.add(path.lstat().st_uid)
    found = user()
    return sorted(owners - {found.pw_uid} if found else owners)


def _may(what: str, path: Path) -> bool:
    """As the service's user, or as anyone while that is still to be made."""
    found = user()
    uid, gid = (found.pw_uid, found.pw_gid) if found else (NO_ONE, NO_ONE)
    groups = os.getgrouplist(USER, gid) if found else [gid]
    if (docker := docker_group()) is not None:
        groups.append(docker)
    asked = subprocess.run(
        ["test", what, path], user=uid, group=gid, extra_groups=groups, cwd="/", check=False
    )
    return asked.returncode == 0
