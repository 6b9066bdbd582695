"""An attempt's folder, and where its outputs are collected to."""

import os
from pathlib import Path

import pytest

from fetchml.files.attempt_folder import AttemptFolder


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    folder = AttemptFolder(tmp_path / "tasks/t/attempts/1")
    folder.create(os.geteuid(), os.getegid())
    return folder


@pytest.fixture
def kept(folder: AttemptFolder) -> Path:
    """Where the task's outputs are collected to."""
    return folder.path.parent.parent / "outputs"
