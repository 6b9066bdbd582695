"""The record of a changed time limit, which the server writes for the shim (shim/README.md)."""

import os
from contextlib import suppress
from pathlib import Path

NAME = "limit"
_DRAFT = "limit.new"


def write_limit(control: Path, timeout_ms: int) -> None:
    """Replace the record in an attempt's `control/` as a whole; 0: no limit. Raises OSError.

    Without isolation a task can leave anything in the folder, and a hostile backup too: no link is
    followed.
    """
    folder = os.open(control, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with suppress(FileNotFoundError):
            os.unlink(_DRAFT, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(_DRAFT, flags, 0o600, dir_fd=folder), "w") as draft:
            draft.write(f"timeout_ms={timeout_ms}\n")
            os.fchmod(draft.fileno(), 0o644)
        os.rename(_DRAFT, NAME, src_dir_fd=folder, dst_dir_fd=folder)
        # Not before: a folder that the shim can't enter is the same to it as an empty one.
        os.fchmod(folder, 0o755)
    finally:
        os.close(folder)
