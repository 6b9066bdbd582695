"""Names of a task's files in an archive that other people unpack, on any system.

The task chose the names. A name must not lead out of the folder that the archive is unpacked to,
nor be one that a system reads in another way than this one.
"""

import re
from enum import StrEnum

_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\\<>:"|?*\u200e\u200f\u202a-\u202e\u2066-\u2069]')
"""Control characters, what Windows forbids (`\\` and `:` lead elsewhere there), and characters that
reverse the direction of text, which show a name as another one."""
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(?=\.|$)", re.IGNORECASE)
MAX_PART_BYTES = 255


class ArchiveFormat(StrEnum):
    ZIP = "zip"
    TAR = "tar"


class ArchiveNames:
    """The names of one archive, each given once."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}
        """Name, in small letters → the last number that was put behind it."""

    def name(self, path: str) -> str:
        """Return the name of a file; `path` is relative, with `/` between its parts."""
        wanted = "/".join(_part(part) for part in path.split("/"))
        name, key = wanted, wanted.casefold()  # Not every system distinguishes names by case.
        while name.casefold() in self._given:
            self._given[key] += 1
            name = f"{wanted}~{self._given[key]}"
        self._given[name.casefold()] = 1
        return name


def _part(part: str) -> str:
    text = part.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    text = _UNSAFE.sub("_", text)
    if text != text.rstrip(". "):  # Windows drops them: `...` would be the folder above.
        text = text.rstrip(". ") + "_"
    text = _DEVICE.sub(r"\1_", text) if _DEVICE.match(text) else text
    while len(text.encode()) > MAX_PART_BYTES:  # Replaced bytes take more than before.
        text = text[: len(text) * MAX_PART_BYTES // len(text.encode())]
    return text
