"""Copies of checkpoints, whose source a hostile task writes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.files import checkpoint_folder
from fetchml.files.checkpoint_folder import TooManyFilesError, User
from fetchml.files.disk_usage import measure
from fetchml.files.untrusted import MAX_DEPTH, TooDeepError

ME = User(os.geteuid(), os.getegid())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    return tmp_path / "task/checkpoint.new"


def go_on() -> None:
    """Nothing ends the copy."""


def copy(source: Path, draft: Path, check: Callable[[], None] = go_on) -> None:
    checkpoint_folder.copy(source, draft, ME, check)


def test_copy_is_equal_and_replaces_a_partial_one(source: Path, draft: Path) -> None:
    (source / "epochs").mkdir()
    (source / "epochs/1").write_bytes(os.urandom(100_000))
    (source / "run.sh").write_text("true")
    (source / "run.sh").chmod(0o6755)
    os.utime(source / "epochs/1", (5, 5))
    (source / "latest").symlink_to("epochs/1")
    draft.mkdir(parents=True)
    (draft / "left").touch()
    copy(source, draft)
    assert (draft / "epochs/1").read_bytes() == (source / "epochs/1").read_bytes()
    assert (draft / "epochs/1").stat().st_mtime == 5
    assert (draft / "latest").readlink() == Path("epochs/1")
    assert (draft / "run.sh").stat().st_mode & 0o7777 == 0o700
    assert {path.name for path in draft.iterdir()} == {"epochs", "run.sh", "latest"}


def test_no_link_is_followed_and_nothing_blocks(source: Path, draft: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    (source / "link").symlink_to(tmp_path / "secret")
    (source / "folder").symlink_to(tmp_path)
    os.mkfifo(source / "fifo")
    copy(source, draft)
    assert {path.name for path in draft.iterdir()} == {"link", "folder"}
    assert all(path.is_symlink() for path in draft.iterdir())


def test_source_that_is_a_link_is_not_copied(draft: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").symlink_to(tmp_path)
    with pytest.raises(OSError, match="directory"):
        copy(tmp_path / "checkpoint", draft)


def test_holes_cost_nothing(source: Path, draft: Path) -> None:
    with (source / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(1 << 40)
        file.write(b"end")
    copy(source, draft)
    assert (draft / "sparse").stat().st_size == (1 << 40) + 3
    assert measure(draft).bytes < 1 << 20
    with (draft / "sparse").open("rb") as file:
        assert file.read(5) == b"begin"
        file.seek(1 << 40)
        assert file.read() == b"end"


def test_depth_and_number_are_limited(
    source: Path, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = source
    for _ in range(MAX_DEPTH + 1):
        deep /= "d"
        deep.mkdir()
    with pytest.raises(TooDeepError):
        copy(source, draft)
    monkeypatch.setattr(checkpoint_folder, "MOST_ENTRIES", 10)
    with pytest.raises(TooManyFilesError):
        copy(source, draft)


def test_file_that_vanishes_is_left_out(source: Path, draft: Path) -> None:
    (source / "kept").touch()
    (source / "vanishes").touch()
    copy(source, draft, lambda: (source / "vanishes").unlink(missing_ok=True))
    assert "kept" in {path.name for path in draft.iterdir()}


def test_copy_ends_when_it_may_not_go_on(source: Path, draft: Path) -> None:
    (source / "file").touch()

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        copy(source, draft, stop)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes owners")
def test_folder_changes_hands_with_the_settings(tmp_path: Path) -> None:
    folder = tmp_path / "task/checkpoint"
    checkpoint_folder.create(folder, User(1000, 1000))
    (folder / "inner").mkdir()
    (folder / "inner/file").touch()
    (folder / "link").symlink_to("/etc/passwd")
    passwd = Path("/etc/passwd").stat().st_uid
    checkpoint_folder.create(folder, User(2000, 2001))
    for path in (folder, folder / "inner", folder / "inner/file", folder / "link"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (2000, 2001)
    assert Path("/etc/passwd").stat().st_uid == passwd
    assert folder.stat().st_mode & 0o777 == 0o700


def test_newest_change(source: Path) -> None:
    assert checkpoint_folder.newest_change(source) is None
    assert checkpoint_folder.newest_change(source / "missing") is None
    (source / "a").mkdir()
    for name, at in (("a/old", 5), ("new", 9)):
        (source / name).touch()
        os.utime(source / name, (at, at))
    assert checkpoint_folder.newest_change(source) == 9000
