"""The files of the page: built from `web/` into this package's `files/`, served from memory."""

import hashlib
import mimetypes
from dataclasses import dataclass, field
from pathlib import Path

FILES = Path(__file__).with_name("files")
INDEX = "index.html"
ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""Compressed variants, the best first: the name in `Content-Encoding` → the file's suffix."""

_TYPES = {".js": "text/javascript", ".woff2": "font/woff2", ".svg": "image/svg+xml"}
"""Types that the host's own table may have wrong."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page, with its compressed variants."""

    content: bytes
    content_type: str
    etag: str
    variants: dict[str, bytes] = field(default_factory=dict)
    """Content encoding → the compressed file."""

    def variant(self, accepted: str) -> tuple[str | None, bytes]:
        """Return the encoding to use, `None` for none, and the bytes to send.

        `accepted`: the value of `Accept-Encoding`."""
        parts = [part for part in accepted.lower().split(",") if _is_wanted(part)]
        named = {part.partition(";")[0].strip() for part in parts}
        for encoding, content in self.variants.items():
            if encoding in named:
                return encoding, content
        return None, self.content


def _is_wanted(part: str) -> bool:
    """Return whether one part of `Accept-Encoding` does not refuse its encoding (`;q=0`)."""
    weight = part.partition(";")[2].replace(" ", "").removeprefix("q=")
    return not weight or weight.strip("0.") != ""


class PageFiles:
    """All files of the page, by their path below `/ui/`.

    They are read again after index.html was built again (`make web-watch`). An installed server
    never does more than read the time of that one file.
    """

    def __init__(self, folder: Path = FILES) -> None:
        self._folder = folder
        self._built_ns: int | None = None
        self._files: dict[str, PageFile] = {}
        self._refresh()

    def index(self) -> PageFile | None:
        """Return index.html; `None` if the page was not built."""
        self._refresh()
        return self._files.get(INDEX)

    def find(self, path: str) -> PageFile | None:
        """Return the file at a path below `/ui/`; `None` if there is none."""
        return self._files.get(path)

    def _refresh(self) -> None:
        try:
            built_ns = (self._folder / INDEX).stat().st_mtime_ns
        except FileNotFoundError:
            return  # Not built, or just being built: what is in memory stays.
        if built_ns != self._built_ns:
            self._files = _read(self._folder)
            self._built_ns = built_ns


def _read(folder: Path) -> dict[str, PageFile]:
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    return {
        name: PageFile(
            content,
            _type_of(name),
            f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            {
                encoding: contents[name + suffix]
                for encoding, suffix in ENCODINGS.items()
                if name + suffix in contents
            },
        )
        for name, content in contents.items()
        if not name.endswith(tuple(ENCODINGS.values()))
    }


def _type_of(name: str) -> str:
    suffix = Path(name).suffix
    found = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{found}; charset=utf-8" if found.startswith("text/") else found
