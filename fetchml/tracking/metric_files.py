"""The files in an attempt's outputs that hold metrics, read from where the last look ended.

The task can replace every file by anything at any time, so all reads are those of `files.untrusted`
and bounded.
"""

import os
import re
from collections.abc import Mapping

import msgspec

from fetchml.core.reported_metrics import MAX_METRICS_BYTES, METRICS_FILE, metrics_in
from fetchml.core.requests import text
from fetchml.core.tracking import MAX_TIME, Point, key_fault
from fetchml.files import untrusted
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.tracking.metric_lines import read_lines
from fetchml.tracking.tensorboard import read_events

LINES_FILE = "metrics.jsonl"
MOST_ENTRIES = 10_000
"""Files and folders that are looked at for event files."""
MAX_DEPTH = 6
"""Folders around an event file, below the outputs."""
MAX_FILES = 100
"""Event files of one attempt."""
READ_BYTES = 1 << 20
"""Read in one look. More than any record or line that is read."""
_EVENTS = re.compile(r"\.tfevents\.([0-9]{1,12})")


class Look(msgspec.Struct, frozen=True):
    points: list[Point]
    is_behind: bool
    """Whether more can be read now."""


class _File:
    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.identity: tuple[int, int] | None = None
        """Device and inode; `None` before the first read."""
        self.offset = 0
        self.seen = 0
        """Size when it was last read."""
        self.lines = 0
        self.fault: str | None = None


class MetricFiles:
    """Those of one attempt. Its methods block."""

    def __init__(self, folder: AttemptFolder) -> None:
        self._folder = folder
        self._outputs = folder.outputs
        self.began_at = 0
        """The attempt's start, 0 before the first look. Points whose files have no time get it: it
        is the same after a restart of the server, so that they are recognized again."""
        self._files: dict[str, _File] = {}
        self._main: str | None = None
        """Folder of the first event file, whose tags have no prefix."""
        self._latest: dict[str, Point] = {}
        """By metric: the point with the highest step, and of those the last."""

    @property
    def faults(self) -> Mapping[str, str]:
        """Why files are not read further, by path."""
        return {path: file.fault for path, file in sorted(self._files.items()) if file.fault}

    def is_empty(self) -> bool:
        """Return whether there is no file at all. Raises OSError."""
        return not untrusted.first_names(self._outputs, 1)

    def look(self, *, is_last: bool = False) -> Look:
        """Read what is new. `is_last`: nothing more will be written."""
        self.began_at = self.began_at or self._folder.opened_at() or 0
        sizes = self._find()
        points: list[Point] = []
        left = READ_BYTES
        for path, file in self._files.items():
            size = sizes.get(path)
            if size is None or file.fault or (size == file.seen and not is_last):
                continue
            if left <= 0:
                return Look(points, is_behind=True)
            try:
                left -= self._read(path, file, points, is_last=is_last)
            except OSError:
                continue  # Gone, or no regular file any more.
        for each in points:
            latest = self._latest.get(each.key)
            if latest is None or latest.step <= each.step:
                self._latest[each.key] = each
        is_behind = any(
            sizes.get(path, 0) > max(file.seen, file.offset) and not file.fault
            for path, file in self._files.items()
        )
        if is_last and not is_behind:
            points += self._results()
        return Look(points, is_behind)

    def _results(self) -> list[Point]:
        """Read `metrics.json`. Its numbers come after those of other files."""
        try:
            with untrusted.open_regular(self._outputs, METRICS_FILE) as file:
                content = file.read(MAX_METRICS_BYTES + 1)
                at = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
        except OSError:
            return []
        at = at if 0 <= at <= MAX_TIME else self.began_at
        points: list[Point] = []
        for name, value in metrics_in(content).items():
            latest = self._latest.get(name)
            if key_fault("metric", name) is None and (latest is None or latest.value != value):
                points.append(Point(name, float(value), at, latest.step if latest else 0))
        return points

    def _find(self) -> dict[str, int]:
        """Return the sizes of all files that may be read, by path; follow new ones."""
        sizes: dict[str, int] = {}
        new: list[tuple[int, str]] = []
        try:
            for path, status in untrusted.regular_files(self._outputs, MOST_ENTRIES):
                match = _EVENTS.search(path)
                if path == LINES_FILE or (match and path.count("/") <= MAX_DEPTH):
                    sizes[path] = status.st_size
                    if path not in self._files and text.line_fault(path) is None:
                        new.append((int(match[1]) if match else 0, path))
        except OSError:
            return sizes
        # By their times, so that after a restart of the server the same folder is the first.
        for _, path in sorted(new)[: MAX_FILES - len(self._files)]:
            folder = path.rpartition("/")[0]
            self._files[path] = _File(folder)
            if self._main is None and path != LINES_FILE:
                self._main = folder
        return sizes

    def _read(self, path: str, file: _File, points: list[Point], *, is_last: bool) -> int:
        """Add the new points of a file, and return the bytes that were read. Raises OSError."""
        with untrusted.open_regular(self._outputs, path) as opened:
            status = os.fstat(opened.fileno())
            identity = status.st_dev, status.st_ino
            if file.identity not in (None, identity):
                file.fault = "another file took its place"
                return 0
            if status.st_size < file.seen:
                file.fault = "it became shorter"
                return 0
            file.identity = identity
            data = os.pread(opened.fileno(), READ_BYTES, file.offset)
        is_end = file.offset + len(data) >= status.st_size
        if path == LINES_FILE:
            found = read_lines(
                data,
                line=file.lines,
                default_at=self.began_at,
                is_all=is_last and is_end,
            )
            file.lines += data.count(b"\n", 0, found.used)
            points += found.points
        else:
            found = read_events(data, default_at=self.began_at)
            prefix = self._prefix(file.folder)
            for each in found.points:
                key = prefix + each.key
                if key_fault("metric", key) is None:
                    points.append(Point(key, each.value, each.at, each.step))
        file.fault = found.fault
        file.offset += found.used
        file.seen = min(file.offset if not is_end else status.st_size, status.st_size)
        return len(data)

    def _prefix(self, folder: str) -> str:
        """Return what comes before the tags of a folder: its path without what it has in common
        with the first folder's."""
        if folder == self._main:
            return ""
        parts, first = folder.split("/"), (self._main or "").split("/")
        while parts[1:] and parts[0] == first[0]:
            parts, first = parts[1:], first[1:] or [""]
        return "".join(f"{part}/" for part in parts if part)
