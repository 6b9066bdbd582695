"""A local folder as a snapshot: its files, their git commit, its id, and the archive to upload."""

import functools
import hashlib
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, Self

from pathspec import GitIgnoreSpec

from fetchml.client.errors import BadFolder
from fetchml.core.snapshots import (
    Entry,
    EntryKind,
    id_of,
    link_fault,
    manifest,
    parents,
    path_fault,
)
from fetchml.v1.snapshot_pb2 import UploadSnapshotRequest

OWN_IGNORE = ".fetchmlignore"
GIT_ENVIRONMENT = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"}
    | {"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_NAMESPACE"}
)
"""Variables that git sets for its hooks, or a user for another repository: with them git would read
that repository instead of this one."""
VERSION_CONTROL = frozenset({".git", ".hg", ".svn"})
COMPRESSION = 3
"""gzip level: code is small, and large files compress badly."""
PIECE_BYTES = 256 * 1024


class SourceTree(NamedTuple):
    root: Path
    paths: list[str]
    """Files and links, relative to the root, sorted."""
    git_commit: str | None
    git_dirty: bool | None
    """Whether the files differ from the commit; `None` if there is no commit."""


class LocalSnapshot(NamedTuple):
    """The files of a folder, as one snapshot."""

    tree: SourceTree
    entries: list[Entry]
    id: str
    """The id that the server will give it: a hash of the entries."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and hash every file of the folder. Raises BadFolder."""
        tree = read_tree(folder)
        if not tree.paths:
            raise BadFolder(
                f"There is nothing to send in {folder}",
                "The folder is empty, or .gitignore (also of the folders above) and .fetchmlignore "
                "exclude all of it.",
            )
        entries = read_entries(tree)
        return cls(tree, entries, id_of(manifest(entries)))

    def pack(self) -> tuple[BinaryIO, int]:
        """Return the archive, in a temporary file to be closed by the caller, and its size in
        bytes. Raises BadFolder."""
        archive = tempfile.TemporaryFile()  # noqa: SIM115  # the caller's to close
        try:
            write_archive(self.tree, self.entries, archive)
        except BaseException:
            archive.close()
            raise
        size = archive.tell()
        archive.seek(0)
        return archive, size

    def pieces(self, archive: BinaryIO) -> Iterator[UploadSnapshotRequest]:
        """Yield the messages of the upload. `archive` is read from its position."""
        first: dict[str, Any] = {
            "git_commit": self.tree.git_commit,
            "git_dirty": self.tree.git_dirty,
        }
        while data := archive.read(PIECE_BYTES):
            yield UploadSnapshotRequest(data=data, **first)
            first = {}


def read_tree(root: Path) -> SourceTree:
    """Return the files that git tracks or would track; outside of a repository, all that no
    .gitignore excludes. A .fetchmlignore excludes files in both cases. Raises BadFolder."""
    try:
        return _read(root)
    except OSError as error:
        raise BadFolder(f"Cannot read {error.filename}: {error.strerror}") from error


def _read(root: Path) -> SourceTree:
    ignored = _ignored_below(root, OWN_IGNORE)
    if _git(root, "rev-parse", "--is-inside-work-tree") is None:
        by_git = _ignored_below(root, ".gitignore")
        entries = _walk(root, lambda path: by_git(path) or ignored(path))
        return SourceTree(root, sorted(entries), None, None)
    paths = [path for path in sorted(set(_git_files(root))) if not ignored(path)]
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        return SourceTree(root, paths, None, None)
    # Untracked files count even where the user's git settings hide them: they are sent too.
    dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=normal", "--", "."))
    return SourceTree(root, paths, commit.decode().strip(), dirty)


def _git_files(root: Path) -> Iterator[str]:
    """Yield the files of a repository, and of the repositories inside it."""

    @functools.cache
    def is_link(folder: str) -> bool:
        return (root / folder).is_symlink()

    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard") or b""
    for name in listed.split(b"\0")[:-1]:
        path = os.fsdecode(name).rstrip("/")
        file = root / path
        if file.is_dir() and not file.is_symlink():
            if (file / ".git").exists():
                yield from (f"{path}/{inner}" for inner in _git_files(file))
        elif not any(map(is_link, parents(path))) and _is_there(file):
            yield path


def _is_there(path: Path) -> bool:
    """Raises OSError if that cannot be found out."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _git(root: Path, *arguments: str) -> bytes | None:
    """Return what git prints; `None` without git, a repository, or such a commit. Raises
    BadFolder."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            check=False,
            env={name: os.environ[name] for name in os.environ.keys() - GIT_ENVIRONMENT}
            | {"LC_ALL": "C"},
        )
    except FileNotFoundError:
        return None
    message = done.stderr.decode(errors="replace").strip()
    if "could not open directory" in message:  # git only warns, and skips the folder
        raise BadFolder(message, "Make it readable, or leave it out with a line in .gitignore.")
    if done.returncode == 0:
        return done.stdout
    if not message or "not a git repository" in message:
        return None
    raise BadFolder(f"git cannot read {root}", message)


def _walk(root: Path, ignored: Callable[[str], bool]) -> Iterator[str]:
    def fail(error: OSError) -> NoReturn:
        raise error

    for folder, folders, files in os.walk(root, onerror=fail):
        base = Path(folder).relative_to(root)
        links = [name for name in folders if (root / base / name).is_symlink()]
        folders[:] = [
            name
            for name in folders
            if name not in links
            and name not in VERSION_CONTROL
            and not ignored(f"{(base / name).as_posix()}/")
        ]
        for name in files + links:
            path = (base / name).as_posix()
            if name not in VERSION_CONTROL and not ignored(path):
                yield path


def _ignored_below(root: Path, name: str) -> Callable[[str], bool]:
    """Return a function: whether ignore files called `name` exclude a path. A folder's path ends
    with `/`.

    As in git, the innermost ignore file with a matching line decides, by its last matching line.
    An excluded folder excludes everything in it.
    """

    @functools.cache
    def rules(folder: str) -> GitIgnoreSpec:
        file = root / folder / name
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        return GitIgnoreSpec.from_lines(text.splitlines())

    @functools.cache
    def is_excluded(path: str) -> bool:
        for folder in (*parents(path.rstrip("/")), ""):
            excluded = rules(folder).check_file(path[len(folder) + 1 if folder else 0 :]).include
            if excluded is not None:
                return excluded
        return False

    def ignored(path: str) -> bool:
        above = (f"{folder}/" for folder in parents(path.rstrip("/")))
        return any(map(is_excluded, above)) or is_excluded(path)

    return ignored


def read_entries(tree: SourceTree) -> list[Entry]:
    """Return an entry for each path, with the hash of each file. Raises BadFolder."""
    try:
        return [_entry(tree.root, path) for path in tree.paths]
    except OSError as error:
        raise BadFolder(f"Cannot read {error.filename}: {error.strerror}") from error


def write_archive(tree: SourceTree, entries: list[Entry], archive: BinaryIO) -> None:
    """Write a tar.gz archive of the entries. Raises BadFolder."""
    try:
        with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=COMPRESSION) as tar:
            for entry in entries:
                _add(tar, tree.root / entry.path, entry)
    except OSError as error:
        raise BadFolder(f"Cannot pack {tree.root}: {error.strerror or error}") from error


def _entry(root: Path, path: str) -> Entry:
    full_path = root / path
    fault = path_fault(path)
    if full_path.is_symlink():
        target = os.readlink(full_path)  # noqa: PTH115  # a Path would normalize it
        entry = Entry(path, EntryKind.LINK, content=target)
        fault = fault or link_fault(path, target)
    elif not full_path.is_file():
        fault = "is not a file, folder or link"
    if fault:
        shown = path.encode("utf-8", "replace").decode()
        raise BadFolder(f"{shown} {fault}", f"Leave it out with a line in {OWN_IGNORE}.")
    if not full_path.is_symlink():
        with full_path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            status = os.fstat(file.fileno())
        kind = EntryKind.EXECUTABLE if status.st_mode & 0o100 else EntryKind.FILE
        entry = Entry(path, kind, status.st_size, digest)
    return entry


def _add(tar: tarfile.TarFile, full_path: Path, entry: Entry) -> None:
    """Add an entry without owner and times: equal trees make equal archives."""
    member = tarfile.TarInfo(entry.path)
    if entry.kind is EntryKind.LINK:
        member.type, member.linkname = tarfile.SYMTYPE, entry.content
        tar.addfile(member)
        return
    member.size = entry.size
    member.mode = 0o755 if entry.kind is EntryKind.EXECUTABLE else 0o644
    with full_path.open("rb") as file:
        tar.addfile(member, file)
