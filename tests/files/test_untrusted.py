"""Lists of files that a hostile task writes meanwhile."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from fetchml.errors import NotFound
from fetchml.files import untrusted
from fetchml.files.task_files import TaskFiles
from fetchml.files.untrusted import MAX_DEPTH, regular_files
from tests.support.waiting import soon


def names(root: Path, most: int = 100) -> list[str]:
    return [path for path, _ in regular_files(root, most)]


def nest(root: Path, depth: int) -> None:
    """Make a folder in a folder, each with a file, deeper than any path can be."""
    here = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT, dir_fd=here))
        os.mkdir("in", dir_fd=here)
        inner = os.open("in", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_files_come_by_name_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("b", "a/c", "a/d/e", "f"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "a/link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "a/pipe")
    assert names(tmp_path) == ["b", "f", "a/c", "a/d/e"]
    assert len(names(tmp_path, 4)) < 4
    with pytest.raises(FileNotFoundError):
        names(tmp_path / "none")


async def test_socket_is_no_output_and_no_fault_of_the_disk(tmp_path: Path) -> None:
    files = TaskFiles(tmp_path)
    outputs = files.outputs("t")
    outputs.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(outputs / "s"))
    with pytest.raises(NotFound):
        await files.open_output("t", "s")


@pytest.mark.slow
def test_depth_is_bounded(tmp_path: Path) -> None:
    nest(tmp_path, 2000)
    assert len(names(tmp_path, 10_000)) == MAX_DEPTH + 1
    untrusted.remove(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "link", "nothing"])
def test_folder_that_is_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    root, folder = tmp_path / "root", tmp_path / "root/folder"
    folder.mkdir(parents=True)
    (root / "other").touch()
    real = os.stat

    def replace(name: Any, **options: Any) -> os.stat_result:
        found = real(name, **options)
        if name == "folder":
            folder.rmdir()
            if kind == "pipe":
                os.mkfifo(folder)
            elif kind == "link":
                folder.symlink_to("/etc")
        return found

    monkeypatch.setattr(os, "stat", replace)
    assert names(root) == ["other"]


@pytest.mark.parametrize("depth", [0, 1])
def test_removal_changes_nothing_behind_a_link_that_takes_a_folders_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    """The owner of the files may have processes on other hosts, whose ends nobody has seen."""
    victim = tmp_path / "victim"
    victim.mkdir(0o755)
    inner = tmp_path.joinpath("root", *["a"] * depth, "inner")
    inner.mkdir(parents=True)
    real = os.stat

    def replace(name: Any, **options: Any) -> os.stat_result:
        found = real(name, **options)
        if name == "inner" and inner.is_dir() and not inner.is_symlink():
            inner.rmdir()
            inner.symlink_to(victim)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", replace)
        with pytest.raises(OSError, match="inner"):
            untrusted.remove(tmp_path / "root")
    assert victim.stat().st_mode & 0o777 == 0o755
    untrusted.remove(tmp_path / "root")
    assert not (tmp_path / "root").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_of_a_tree_adds_nothing_while_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a removal might never end."""
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    for folder in (root, root / "a", root / "a/b"):
        (folder / "file").touch()
        folder.chmod(0o777)
        os.chown(folder, 4321, 4321)
    listed = list[tuple[int, int]]()
    real = os.scandir

    def scandir(fd: int) -> Any:
        status = os.fstat(fd)
        listed.append((status.st_uid, status.st_mode & 0o777))
        return real(fd)

    monkeypatch.setattr(os, "scandir", scandir)
    untrusted.remove(root)
    assert not root.exists()
    assert set(listed) == {(0, 0o700)}
    assert len(listed) > 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "link", "deep"])
async def test_outputs_that_a_task_spoilt_can_be_listed(tmp_path: Path, kind: str) -> None:
    files = TaskFiles(tmp_path)
    root = files.outputs("t")
    root.parent.mkdir(parents=True)
    match kind:
        case "file":
            root.touch()
        case "link":
            root.symlink_to("/etc")
        case _:
            root.mkdir()
            nest(root, 2000)
    assert len(await soon(files.list_outputs("t", "alice"))) == (0, MAX_DEPTH + 1)[kind == "deep"]
    await files.remove("t")
    assert not root.parent.exists()
