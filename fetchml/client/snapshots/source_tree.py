"""Which files of a folder are its code, and which commit they are from."""

import functools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from pathspec import GitIgnoreSpec

from fetchml.client.errors import BadFolder
from fetchml.core.requests.snapshot import parents

OWN_IGNORE = ".fetchmlignore"
GIT_ENVIRONMENT = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"}
    | {"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_NAMESPACE"}
)
"""What git sets for its hooks, or a user for another repository: it would be read in this one's
place."""
VERSION_CONTROL = frozenset({".git", ".hg", ".svn"})


class Tree(NamedTuple):
    root: Path
    paths: list[str]
    """Files and links, relative to the root, in order."""
    git_commit: str | None
    git_dirty: bool | None
    """None: there is no commit to differ from."""


def read_tree(root: Path) -> Tree:
    """What git would track, or, where there is no repository, all that no .gitignore excludes; in
    both without what a .fetchmlignore excludes. Raises BadFolder."""
    try:
        return _read(root)
    except OSError as error:
        raise BadFolder(f"Can't read {error.filename}: {error.strerror}") from error


def _read(root: Path) -> Tree:
    ignored = _ignored_below(root, OWN_IGNORE)
    if _git(root, "rev-parse", "--is-inside-work-tree") is None:
        by_git = _ignored_below(root, ".gitignore")
        found = _walk(root, lambda path: by_git(path) or ignored(path))
        return Tree(root, sorted(found), None, None)
    paths = [path for path in sorted(set(_git_files(root))) if not ignored(path)]
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        return Tree(root, paths, None, None)
    # Whatever the user's own settings hide: it is sent.
    dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=normal", "--", "."))
    return Tree(root, paths, commit.decode().strip(), dirty)


def _git_files(root: Path) -> Iterator[str]:
    """Of repositories inside, theirs."""

    @functools.cache
    def is_link(folder: str) -> bool:
        return (root / folder).is_symlink()

    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard") or b""
    for name in listed.split(b"\0")[:-1]:
        path = os.fsdecode(name).rstrip("/")
        found = root / path
        if found.is_dir() and not found.is_symlink():
            if (found / ".git").exists():
                yield from (f"{path}/{inner}" for inner in _git_files(found))
        elif not any(map(is_link, parents(path))) and _is_there(found):
            yield path


def _is_there(path: Path) -> bool:
    """Raises OSError if nobody can tell."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _git(root: Path, *arguments: str) -> bytes | None:
    """What git prints. None: no git, no repository, or no such commit. Raises BadFolder."""
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
    said = done.stderr.decode(errors="replace").strip()
    if "could not open directory" in said:  # It goes on without it.
        raise BadFolder(said, "Make it readable, or leave it out with a line in .gitignore.")
    if done.returncode == 0:
        return done.stdout
    if not said or "not a git repository" in said:
        return None
    raise BadFolder(f"git can't read {root}", said)


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
    """Whether files with this name exclude a path, which ends with `/` if it is a folder.

    As in git, the file in the innermost folder that says something counts, and in it the last
    line. What lies in an excluded folder is excluded.
    """

    @functools.cache
    def rules(folder: str) -> GitIgnoreSpec:
        file = root / folder / name
        text = file.read_text(errors="replace") if file.is_file() else ""
        return GitIgnoreSpec.from_lines(text.splitlines())

    @functools.cache
    def said_of(path: str) -> bool:
        for folder in (*parents(path.rstrip("/")), ""):
            said = rules(folder).check_file(path[len(folder) + 1 if folder else 0 :]).include
            if said is not None:
                return said
        return False

    def ignored(path: str) -> bool:
        above = (f"{folder}/" for folder in parents(path.rstrip("/")))
        return any(map(said_of, above)) or said_of(path)

    return ignored
