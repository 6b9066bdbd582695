"""Which files of a folder are its code, and which commit they are from."""

import functools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from fetchml.client.errors import BadFolder
from fetchml.core.snapshot import parents

OWN_IGNORE = ".fetchmlignore"
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
    if _git(root, "rev-parse", "--is-inside-work-tree") is None:
        ignored = _ignored_below(root, (".gitignore", OWN_IGNORE))
        return Tree(root, sorted(_walk(root, ignored)), None, None)
    ignored = _ignored_below(root, (OWN_IGNORE,))
    paths = [path for path in sorted(set(_git_files(root))) if not ignored(path)]
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        return Tree(root, paths, None, None)
    dirty = bool(_git(root, "status", "--porcelain", "--", "."))
    return Tree(root, paths, commit.decode().strip(), dirty)


def _git_files(root: Path) -> Iterator[str]:
    """Of repositories inside, theirs."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard") or b""
    for name in listed.split(b"\0")[:-1]:
        path = os.fsdecode(name).rstrip("/")
        found = root / path
        if found.is_dir() and not found.is_symlink():
            if (found / ".git").exists():
                yield from (f"{path}/{inner}" for inner in _git_files(found))
        elif os.path.lexists(found):
            yield path


def _git(root: Path, *arguments: str) -> bytes | None:
    """What git prints. None: no git, no repository, or no such commit. Raises BadFolder."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        return None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip()
    if not said or "not a git repository" in said:
        return None
    raise BadFolder(f"git can't read {root}", said)


def _walk(root: Path, ignored: Callable[[str], bool]) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
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
            if not ignored(path):
                yield path


def _ignored_below(root: Path, names: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether files with these names exclude a path, which ends with `/` if it is a folder.

    As in git, the file in the innermost folder that says something counts, and in it the last
    line. What lies in an excluded folder is excluded.
    """

    @functools.cache
    def rules(folder: str) -> GitIgnoreSpec:
        lines: list[str] = []
        for name in names:
            file = root / folder / name
            if file.is_file():
                lines += file.read_text(errors="replace").splitlines()
        return GitIgnoreSpec.from_lines(lines)

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
