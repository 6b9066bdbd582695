"""Reads what an environment is made from: files of a snapshot, as uv will get them."""

import errno
import hashlib
import posixpath
from collections.abc import Callable
from typing import NamedTuple

from fetchml.core.environments import (
    MAX_FILE_BYTES,
    MAX_INCLUDED,
    MAX_LOCK_BYTES,
    MAX_REQUIREMENTS_BYTES,
    ROOT,
    BadFile,
    has_local_sources,
    project_needs_tree,
    read_requirements,
    script_metadata,
)
from fetchml.snapshots.files import SnapshotFiles

MAX_SHOWN = 100
_NO_FILE = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG})
"""A link, or a folder on the way that is a file or a link. Other errors may pass."""


class Source(NamedTuple):
    """All that uv reads."""

    kind: str
    """As `Build.kind`."""
    path: str
    files: dict[str, bytes]
    """Content by path. Empty if uv gets the whole snapshot."""
    needs_tree: bool
    """uv gets the whole snapshot."""
    digest: str
    """SHA-256 of what uv gets."""
    versions: tuple[str, ...] = ()
    """`Environment.versions`."""

    def limited_to(self, versions: tuple[str, ...]) -> "Source":
        if not versions:
            return self
        digest = hashlib.sha256("\n".join((self.digest, *versions)).encode()).hexdigest()
        return self._replace(versions=versions, digest=digest)


class BadSource(ValueError):
    """The files can't describe an environment. The message is for users."""


class EnvironmentSources:
    """Every method blocks for disk accesses."""

    def __init__(self, snapshots: SnapshotFiles) -> None:
        self._snapshots = snapshots

    def read(
        self, snapshot_id: str, kind: str, path: str, check: Callable[[], None] = lambda: None
    ) -> Source:
        """`check` is called before each requirements file; the reading ends with what it raises.
        Raises BadSource, OSError."""
        files: dict[str, bytes] = {}
        if kind == "requirements":
            needs_tree = self._requirements(snapshot_id, path, files, check)
        elif kind == "project":
            needs_tree = self._project(snapshot_id, path, files)
        else:
            needs_tree = self._script(snapshot_id, path, files)
            kind = "locked" if len(files) > 1 else kind
        digest = hashlib.sha256(f"{kind}\0{path}\0".encode())
        if needs_tree:
            digest.update(f"tree {snapshot_id}".encode())
            files = {}
        for name, content in sorted(files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return Source(kind, path, files, needs_tree, digest.hexdigest())

    def _requirements(
        self, snapshot_id: str, path: str, files: dict[str, bytes], check: Callable[[], None]
    ) -> bool:
        needs_tree = False
        left = MAX_REQUIREMENTS_BYTES
        waiting = [path]
        while waiting:
            name = waiting.pop()
            if name in files:
                continue
            if len(files) > MAX_INCLUDED:
                raise BadSource(f"{path}: names more than {MAX_INCLUDED} other files")
            check()
            files[name] = self._read(snapshot_id, name)
            left -= len(files[name])
            if left < 0:
                most = MAX_REQUIREMENTS_BYTES >> 20
                raise BadSource(f"{path}: it and the files it names are larger than {most} MiB")
            try:
                requirements = read_requirements(name, _text(files[name]))
            except BadFile as error:
                raise BadSource(f"{name[:MAX_SHOWN]}: {error}") from None
            needs_tree |= requirements.needs_tree
            waiting += requirements.included
        return needs_tree

    def _project(self, snapshot_id: str, path: str, files: dict[str, bytes]) -> bool:
        folder = "" if path == ROOT else path
        project, lock = (posixpath.join(folder, name) for name in ("pyproject.toml", "uv.lock"))
        files[project] = self._read(snapshot_id, project)
        lock_file = self._read_if_any(snapshot_id, lock, MAX_LOCK_BYTES)
        if lock_file is None:
            raise BadSource(f"{path[:MAX_SHOWN]}: has no uv.lock: run 'uv lock' in it")
        files[lock] = lock_file
        return project_needs_tree(_text(files[project]), lock_file)

    def _script(self, snapshot_id: str, path: str, files: dict[str, bytes]) -> bool:
        try:
            metadata = script_metadata(_text(self._read(snapshot_id, path)))
        except BadFile as error:
            raise BadSource(f"{path[:MAX_SHOWN]}: {error}") from None
        # Not the rest of the script: the environment does not depend on it.
        files[path] = metadata.encode()
        lock = f"{path}.lock"
        if (lock_file := self._read_if_any(snapshot_id, lock, MAX_LOCK_BYTES)) is not None:
            files[lock] = lock_file
        return has_local_sources(metadata)

    def _read(self, snapshot_id: str, path: str) -> bytes:
        content = self._read_if_any(snapshot_id, path, MAX_FILE_BYTES)
        if content is None:
            raise BadSource(f"{path[:MAX_SHOWN]}: file not found in the snapshot")
        return content

    def _read_if_any(self, snapshot_id: str, path: str, limit: int) -> bytes | None:
        shown = path[:MAX_SHOWN]
        try:
            with self._snapshots.open_file(snapshot_id, path) as file:
                content = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            raise BadSource(f"{shown}: is not a regular file of the snapshot") from error
        if len(content) > limit:
            raise BadSource(f"{shown}: is larger than {limit >> 20} MiB")
        return content


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
