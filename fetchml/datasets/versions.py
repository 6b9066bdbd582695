"""Which content a source had when it was last asked, for datasets whose sum nobody gave."""

import hashlib
import threading
from pathlib import Path

import msgspec

from fetchml.ports.origin import ContentVersion

MAX_SOURCES = 10_000


class KnownVersion(msgspec.Struct, frozen=True):
    version: ContentVersion
    sha256: str


class DatasetVersions:
    """Kept in one small file. Losing it costs no more than fetching again. `put` may block, and
    be called from any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: dict[str, KnownVersion] = {}
        """By the digest of the URL, which itself may grant access; oldest first."""

    def load(self) -> None:
        try:
            self._known = msgspec.json.decode(self._file.read_bytes(), type=dict[str, KnownVersion])
        except (FileNotFoundError, msgspec.DecodeError):
            self._known = {}

    def get(self, url: str) -> KnownVersion | None:
        return self._known.get(_digest(url))

    def put(self, url: str, known: KnownVersion) -> None:
        with self._lock:
            told = dict(self._known)
            told.pop(_digest(url), None)
            told[_digest(url)] = known
            while len(told) > MAX_SOURCES:
                del told[next(iter(told))]
            draft = self._file.with_suffix(".new")
            draft.write_bytes(msgspec.json.encode(told))
            draft.replace(self._file)
            # Only what could be written is known: it must not fail what comes after it.
            self._known = told


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()
