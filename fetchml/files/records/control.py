"""The records that the server writes for the shim while an attempt runs (shim/README.md)."""

import os
from contextlib import suppress
from pathlib import Path

LIMIT = "limit"
ENTER = "enter"


def write_limit(control: Path, timeout_ms: int) -> None:
    """Replace the record of a changed time limit; 0: no limit. Raises OSError."""
    _replace(control, LIMIT, f"timeout_ms={timeout_ms}\n", 0o644)


def ask_to_enter(
    control: Path, mark: str, ports: str, key: str, owner: tuple[int, int] | None = None
) -> None:
    """Ask the shim to start the relay by which the server enters the attempt. Raises OSError.

    `owner`: uid and gid of the shim; `None` if they are the server's own.

    `mark`: 32 digits, others in each request. `ports`: the range for the relay, as
    `LOWEST-HIGHEST`. `key`: the certificate of both ends with its key, in PEM.
    """
    _replace(control, ENTER, f"{mark}\n{ports}\n{key}", 0o600, owner)


def _replace(
    control: Path, name: str, text: str, mode: int, owner: tuple[int, int] | None = None
) -> None:
    """Replace a record in an attempt's `control/` as a whole. Raises OSError.

    Without isolation a task can leave anything in the folder, and a hostile backup too: no link is
    followed.
    """
    draft_name = f"{name}.new"
    folder = os.open(control, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with suppress(FileNotFoundError):
            os.unlink(draft_name, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(draft_name, flags, 0o600, dir_fd=folder), "w") as draft:
            draft.write(text)
            if owner is not None:
                os.fchown(draft.fileno(), *owner)
            os.fchmod(draft.fileno(), mode)
        os.rename(draft_name, name, src_dir_fd=folder, dst_dir_fd=folder)
        # Not before: a folder that the shim can't enter is the same to it as an empty one.
        os.fchmod(folder, 0o755)
    finally:
        os.close(folder)
