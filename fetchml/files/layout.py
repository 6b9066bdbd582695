"""What tells a data directory from a folder that is somebody's for another purpose."""

import os
from pathlib import Path

_MARKS = ("store/fetchml.duckdb", "store/header.copy", "admin.key", "control.sock")
"""What only a data directory has."""
_YOUNG = frozenset({"lock", "store", "lost+found"})
"""What lies in one whose server has never run to the end of its start, or on a new disk."""


def may_become_data_dir(folder: Path) -> bool:
    """Whether it is missing, empty, or one already. Raises OSError."""
    if any(os.path.lexists(folder / mark) for mark in _MARKS):
        return True
    try:
        return {entry.name for entry in folder.iterdir()} <= _YOUNG
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
