"""The file in an attempt's run folder by which the shim gets the secrets of a task.

It exists from the preparation until the shim has taken it, right before the command. shim/README.md
has the format.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fetchml.core.model import SecretForm, SecretUse
from fetchml.files import untrusted
from fetchml.files.layout import RUN, SECRETS

NAME = "secrets"
_KINDS = {SecretForm.ENV: "e", SecretForm.FILE: "f"}


def encode(secrets: Iterable[tuple[SecretUse, bytes]]) -> bytes:
    """Return the content for these secrets, each with its value."""
    return b"".join(
        f"{_KINDS[use.form]} {use.name} {len(value)}\n".encode() + value + b"\n"
        for use, value in secrets
    )


def write(attempt: Path, content: bytes, uid: int | None, gid: int | None) -> None:
    """Write the file for a shim of this user, before the gate is opened. Raises OSError.

    `None` is the user that the image defines: the file is readable by every user then, inside the
    attempt's folder, which only the server may enter.
    """
    run = os.open(attempt / RUN, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _unlink(run)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(NAME, flags, 0o600, dir_fd=run)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            if uid is not None and gid is not None:
                os.fchown(fd, uid, gid)
            os.fchmod(fd, 0o444 if uid is None else 0o400)
    finally:
        os.close(run)


def make_folder(attempt: Path) -> Path:
    """Create the folder of a task's secret files, for launchers without containers; return it.
    Raises OSError."""
    folder = attempt / SECRETS
    untrusted.remove(folder)
    folder.mkdir(0o700)
    return folder


def remove(attempt: Path) -> None:
    """Remove the rest of an attempt's secrets. May be repeated. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError):
        run = os.open(attempt / RUN, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _unlink(run)
        finally:
            os.close(run)
    untrusted.remove(attempt / SECRETS)


def _unlink(run: int) -> None:
    # Something else may have this name once the task has run.
    with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
        os.unlink(NAME, dir_fd=run)
