"""A file system of its own for what makes and removes many files.

An ext4 without a journal, as virtual machines have it for a root, passes by the inodes of all that
was removed in the last minutes whenever a file is made: containers got slower from round to round,
whoever made them. Boxes have a journal.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import scratch_folder

SIZE = 8 << 30
"""Bytes, of which only those are taken that are written."""


@contextmanager
def fresh_disk() -> Iterator[Path]:
    """A short path to it. Where it can't be mounted (who is not root), to the project's disk."""
    with scratch_folder() as folder, tempfile.TemporaryDirectory(prefix="fml", dir="/tmp") as place:
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(SIZE)
        if not (os.geteuid() == 0 and _done("mkfs.ext4", "-q", image) and _mounted(image, place)):
            yield folder
            return
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


def _mounted(image: Path, place: str) -> bool:
    return _done("mount", "-o", "loop", image, place)


def _done(*command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
