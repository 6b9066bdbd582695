"""The last known version of each source, for datasets without a checksum."""

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
    """Versions in one small file, whose loss only costs another fetch. `put` may block, and may be
    called from any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: dict[str, KnownVersion] = {}
        """By a digest of the URL, since a URL may itself grant access; oldest first."""

    def load(self) -> None:
        try:
            self._known = msgspec.json.decode(self._file.read_bytes(), type=dict[str, KnownVersion])
        except (FileNotFoundError, msgspec.DecodeError):
            self._known = {}

    def get(self, url: str) -> KnownVersion | None:
        return self._known.get(_digest(url))

    def put(self, url: str, known: KnownVersion) -> None:
        with self._lock:
            versions = dict(self._known)
            versions.pop(_digest(url), None)
            versions[_digest(url)] = known
            while len(versions) > MAX_SOURCES:
                del versions[next(iter(versions))]
            draft = self._file.with_suffix(".new")
            draft.write_bytes(msgspec.json.encode(versions))
            draft.replace(self._file)
            # Only after the write: a failed one must not affect later calls.
            self._known = versions


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()
