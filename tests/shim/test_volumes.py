"""Folders that the shim compares with those that the server has checked."""

import os
import subprocess
from pathlib import Path

import pytest

from fetchml.files.untrusted import identity
from fetchml.shim import WRONG_VOLUME
from tests.shim.attempt import Attempt, run


def argv(attempt: Attempt, *volumes: str) -> list[str]:
    made = attempt.argv("true")
    options = [word for volume in volumes for word in ("--volume", volume)]
    return [*made[:1], *options, *made[1:]]


def named(folder: Path, place: Path) -> str:
    device, inode = identity(folder)
    return f"{device}:{inode}:{place}"


def test_command_runs_with_the_folders_that_were_checked(attempt: Attempt, tmp_path: Path) -> None:
    folder = tmp_path / "a: b"
    folder.mkdir()
    other = tmp_path / "other"
    other.symlink_to(folder)
    assert run(argv(attempt, named(folder, folder), named(folder, other))) == 0


@pytest.mark.parametrize("now", ["another", "link", "nothing"])
def test_nothing_runs_with_another_folder(attempt: Attempt, tmp_path: Path, now: str) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    right = named(folder, folder)
    folder.rename(tmp_path / "away")
    if now == "another":
        folder.mkdir()
    elif now == "link":
        folder.symlink_to("/etc")
    assert run(argv(attempt, right)) == WRONG_VOLUME
    assert {path.name for path in attempt.folder.iterdir()} == {"gate", "open"}


@pytest.mark.parametrize("wrong", ["", "1", "1:2", "1:2:", "/volumes/v", "a:2:/volumes/v"])
def test_malformed_option(attempt: Attempt, wrong: str) -> None:
    done = subprocess.run(argv(attempt, wrong), capture_output=True, check=False)
    assert done.returncode in (os.EX_USAGE, WRONG_VOLUME)
