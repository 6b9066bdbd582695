"""Whether the shared folder is still the one that it was.

Where it is not mounted, there is another folder under its path. One that was mounted again may have
another device and another inode (NFS, FUSE): then a random word in a file of it decides.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from fetchml.files import untrusted
from fetchml.files.own_file import write_durably
from fetchml.files.shared_disk import not_mounted

MARKER = ".fetchml-folder"
_WORD_BYTES = 64


class SharedIdentity:
    """Recognizes the shared folder. Its methods block, and raise OSError."""

    def __init__(self, shared_dir: Path) -> None:
        self._shared_dir = shared_dir
        self._known: tuple[int, int] | None = None
        """The folder's device and inode when it was last found to be the same."""
        self._word = ""

    @property
    def is_known(self) -> bool:
        return self._known is not None

    def keep(self) -> None:
        """Note the folder as it is now."""
        found = device_and_inode(self._shared_dir)
        if not self._read():
            word = secrets.token_hex(16).encode()
            write_durably(self._shared_dir / MARKER, word, sync_name=False)
        self._word = self._read()  # Another server may have replaced it just now.
        self._known = found

    def require_same(self) -> None:
        """Raises OSError if it is another folder, or none."""
        found = None
        with suppress(FileNotFoundError):
            found = device_and_inode(self._shared_dir)
        if found is None or self._known is None:
            raise not_mounted(self._shared_dir)
        if found == self._known:
            return
        if self._read() != self._word:
            raise not_mounted(self._shared_dir)
        self._known = found

    def _read(self) -> str:
        folder = os.open(self._shared_dir, untrusted.FOLDER)
        try:
            data = untrusted.read_regular(folder, MARKER, 0, _WORD_BYTES)
        except FileNotFoundError:
            return ""
        finally:
            os.close(folder)
        return data.decode(errors="replace")


def device_and_inode(folder: Path) -> tuple[int, int]:
    """Return two numbers that differ for another folder. Raises OSError."""
    status = folder.stat()
    return status.st_dev, status.st_ino
