"""Outputs are moved to where they are kept, whatever a task has made of them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.files import attempt_folder, kept_outputs, untrusted
from fetchml.files.attempt_folder import AttemptFolder, CollectError

# Collecting


def test_collect_moves_and_makes_private(folder: AttemptFolder, kept: Path) -> None:
    (folder.outputs / "deep/er").mkdir(parents=True)
    model = folder.outputs / "deep/er/model"
    model.write_text("weights")
    model.chmod(0o6755)
    unreadable = folder.outputs / "unreadable"
    unreadable.write_text("x")
    unreadable.chmod(0)
    (folder.outputs / "deep").chmod(0)
    os.mkfifo(folder.outputs / "fifo")
    (folder.workspace / "scratch").write_text("x")
    folder.collect(kept)
    folder.collect(kept)
    assert (kept / "deep/er/model").read_text() == "weights"
    assert (kept / "deep/er/model").stat().st_mode & 0o7777 == 0o755
    assert (kept / "unreadable").stat().st_mode & 0o7777 == 0o644
    assert (kept / "deep").stat().st_mode & 0o7777 == 0o755
    assert kept.stat().st_mode & 0o7777 == 0o700, "so nobody else reaches them"
    assert sorted(path.name for path in kept.iterdir()) == ["deep", "unreadable"]
    assert not folder.outputs.exists()
    assert not folder.workspace.exists()


def test_collected_files_belong_to_the_server(tmp_path: Path) -> None:
    server = os.geteuid()
    task = 1000 if server == 0 else server  # only root can run tasks as somebody else
    folder = AttemptFolder(tmp_path / "tasks/t/attempts/1")
    folder.create(task, task if server == 0 else os.getegid())
    made = folder.outputs / "made"
    made.write_text("x")
    os.chown(made, task, -1)
    folder.collect(tmp_path / "kept")
    owners = {path.stat().st_uid for path in (tmp_path / "kept", tmp_path / "kept/made")}
    assert owners == {server}


def test_collect_follows_no_link(folder: AttemptFolder, kept: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (outside / "file").chmod(0o644)
    (folder.outputs / "to-folder").symlink_to(outside)
    (folder.outputs / "to-file").symlink_to(outside / "file")
    (folder.workspace / "to-folder").symlink_to(outside)
    folder.collect(kept)
    assert (kept / "to-folder").is_symlink()
    assert (outside / "file").stat().st_mode & 0o777 == 0o644


def test_collect_of_outputs_that_are_a_link(
    folder: AttemptFolder, kept: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    folder.outputs.rmdir()
    folder.outputs.symlink_to(outside)
    folder.workspace.rmdir()
    folder.workspace.symlink_to(outside)
    folder.collect(kept)
    assert list(kept.iterdir()) == []
    assert (outside / "file").exists()


def test_collect_replaces_an_earlier_attempt_s(folder: AttemptFolder, kept: Path) -> None:
    kept.mkdir()
    (kept / "old").write_text("x")
    (folder.outputs / "new").write_text("x")
    folder.collect(kept)
    assert [path.name for path in kept.iterdir()] == ["new"]


@pytest.mark.parametrize(
    ("made", "earlier", "syncs"), [([], [], 0), (["new"], [], 2), ([], ["old"], 2)]
)
def test_only_outputs_that_can_be_lost_are_synced(
    folder: AttemptFolder,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    made: list[str],
    earlier: list[str],
    syncs: int,
) -> None:
    """An earlier attempt's would come back; an empty folder may as well be absent."""
    synced: list[Path] = []
    monkeypatch.setattr(attempt_folder, "sync_folder", synced.append)
    for name in earlier:
        kept.mkdir()
        (kept / name).touch()
    for name in made:
        (folder.outputs / name).touch()
    folder.collect(kept)
    assert [path.name for path in kept.iterdir()] == made
    assert len(synced) == syncs


class Crash(BaseException):
    """The server dies here."""


@pytest.mark.parametrize("step", range(6))
def test_collect_after_a_crash(
    folder: AttemptFolder, kept: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies at each of its changes to names; the next server comes to the same end."""
    kept.mkdir()
    (kept / "old").write_text("x")
    (folder.outputs / "new").write_text("x")
    done = 0

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal done
            if done == step:
                raise Crash
            done += 1
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(untrusted, "remove", dying(untrusted.remove))
        patch.setattr(kept_outputs, "keep", dying(kept_outputs.keep))
        try:
            folder.collect(kept)
        except Crash:
            assert done == step
    folder.collect(kept)
    assert [path.name for path in kept.iterdir()] == ["new"]
    assert [path.name for path in folder.path.iterdir()] == ["run"]


def nest(folder: Path, depth: int) -> None:
    """Far deeper than a path can be long."""
    above = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("folder", dir_fd=above)
        below = os.open("folder", os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)


@pytest.mark.slow
def test_a_workspace_of_any_depth_is_removed(folder: AttemptFolder, kept: Path) -> None:
    nest(folder.workspace, 1500)
    (folder.workspace / ".removing-0").mkdir()
    folder.collect(kept)
    assert not folder.workspace.exists()


def test_outputs_that_are_too_deep(folder: AttemptFolder, kept: Path) -> None:
    nest(folder.outputs, 200)
    with pytest.raises(CollectError, match="nested more than 100 deep"):
        folder.collect(kept)


def test_outputs_that_can_t_be_moved(folder: AttemptFolder, kept: Path) -> None:
    with pytest.raises(CollectError, match="storing the outputs failed: No such file"):
        folder.collect(kept.parent / "missing/outputs")
    assert folder.outputs.exists()
