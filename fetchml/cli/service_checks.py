"""Checks before the service is installed: what its user can read and write. They need root."""

import grp
import os
import pwd
import subprocess
from contextlib import suppress
from pathlib import Path

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.files.layout import may_become_data_dir
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
    """Require a file that the service's user can read. The CommandError shows how to allow it."""
    if not file.exists():
        raise CommandError(f"{file} is missing", code=ExitCode.USAGE)
    if _may("-r", file):
        return
    # A link may lead through folders other than those of its own name.
    ways = [*reversed(file.parents), *reversed(file.resolve().parents)]
    closed = next((folder for folder in ways if not _may("-x", folder)), None)
    if closed is None:
        mend = f"Run: chgrp {USER} {file} && chmod g+r {file}"
    else:
        mend = (
            "Move it to a folder that all users can enter, or run: "
            f"chgrp {USER} {closed} && chmod g+x {closed}"
        )
    if user() is None:
        mend = f"{mend}\nCreate the user first: {' '.join((*MAKE_USER, USER))}"
    raise CommandError(f"The service's user {USER} cannot read {file}. Nothing was changed", mend)


def require_writable(folder: Path) -> None:
    """Require that the service's user can write to a folder, if it exists. Raises
    CommandError."""
    if folder.exists() and not (folder.is_dir() and _may("-w", folder)):
        raise CommandError(
            f"The service's user {USER} cannot write to {folder}. Nothing was changed",
            f"Run: chown {USER}: {folder}",
        )


def require_data_dir(data_dir: Path) -> None:
    """Require a data directory that is missing, empty, or FetchML's, since the installation gives
    all of it to the service's user. Raises CommandError."""
    if may_become_data_dir(data_dir):
        return
    raise CommandError(
        f"{data_dir} is neither empty nor a data directory of FetchML. Nothing was changed",
        "Name another directory with --data-dir.",
        ExitCode.USAGE,
    )


def strangers(data_dir: Path) -> list[int]:
    """Return the other users that own files of the server, such as root after a restore.

    Files of tasks are not checked: they can belong to any user.
    """
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
    """Run `test` as the service's user; as nobody while that user does not exist."""
    found = user()
    uid, gid = (found.pw_uid, found.pw_gid) if found else (NO_ONE, NO_ONE)
    groups = os.getgrouplist(USER, gid) if found else [gid]
    if (docker := docker_group()) is not None:
        groups.append(docker)
    asked = subprocess.run(
        ["test", what, path], user=uid, group=gid, extra_groups=groups, cwd="/", check=False
    )
    return asked.returncode == 0
