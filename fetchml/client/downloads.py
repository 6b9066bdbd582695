"""The file that a download is written to until it is complete, from which it continues."""

import re
from pathlib import Path
from typing import BinaryIO

from fetchml.v1.task_pb2 import TaskOutputChunk

_TAG = re.compile(r"[0-9a-f]{24}")


class PartFile:
    """`NAME.ETAG.part` beside the file: the tag shows whether the rest belongs to it."""

    def __init__(self, to: Path) -> None:
        self._to = to
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self.etag = ""
        self.offset = 0
        """Bytes that are here already."""

    def find(self) -> None:
        """Continue what an earlier download left."""
        first, last = f"{self._to.name}.", ".part"
        for path in self._to.parent.iterdir() if self._to.parent.is_dir() else ():
            tag = path.name[len(first) : -len(last)]
            if path.name == f"{first}{tag}{last}" and _TAG.fullmatch(tag) and path.is_file():
                self._path, self.etag, self.offset = path, tag, path.stat().st_size
                return

    def take(self, chunk: TaskOutputChunk) -> None:
        """Write what arrived. Raises OSError."""
        if self._file is None:
            if self._path is None or chunk.etag != self.etag:
                self.discard()
                self.etag = chunk.etag
                self._path = self._to.with_name(f"{self._to.name}.{chunk.etag or 'new'}.part")
            self._file = self._path.open("ab" if self.offset else "wb")
        self._file.write(chunk.data)
        self.offset += len(chunk.data)

    def pause(self) -> None:
        """Close the file: the connection was lost."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self.etag:  # An older server can't continue a download.
            self.offset = 0

    def finish(self) -> Path:
        """Put the complete file in its place. Raises OSError."""
        self.pause()
        if self._path is None:
            raise FileNotFoundError(f"no data received for {self._to.name}")
        path, self._path = self._path, None
        return path.replace(self._to)

    def discard(self) -> None:
        """Discard the received bytes."""
        self.pause()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._path, self.etag, self.offset = None, "", 0
