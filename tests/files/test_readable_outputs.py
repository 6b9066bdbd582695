"""Outputs that become inputs of other tasks: readable, and nothing beyond them."""

import os
import stat
from pathlib import Path

import pytest

from fetchml.files.kept_outputs import keep, make_readable
from fetchml.files.task_files import etag_of
from fetchml.files.untrusted import MAX_DEPTH, TooDeepError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_everything_inside_is_readable_and_links_stay(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("s")
    outside.chmod(0o600)
    outputs = tmp_path / "task" / "outputs"
    (outputs / "deep").mkdir(parents=True)
    for name, bits in (("plain", 0o600), ("program", 0o700)):
        (outputs / "deep" / name).write_text(name)
        (outputs / "deep" / name).chmod(bits)
    (outputs / "deep").chmod(0o700)
    (outputs / "link").symlink_to(outside)
    os.mkfifo(outputs / "pipe", 0o600)
    outputs.chmod(0o700)
    for _ in range(2):
        make_readable(outputs)
        assert mode(outputs.parent) == 0o700, "nobody else on the host gets there"
        assert [mode(each) for each in (outputs, outputs / "deep")] == [0o755, 0o755]
        assert mode(outputs / "deep" / "plain") == 0o644
        assert mode(outputs / "deep" / "program") == 0o755
        assert mode(outputs / "pipe") == 0o600
        assert mode(outside) == 0o600


def test_files_that_were_kept_do_not_change(tmp_path: Path) -> None:
    """A download that was cut goes on."""
    outputs = tmp_path / "task" / "outputs"
    (outputs / "deep").mkdir(parents=True)
    files = [outputs / "plain", outputs / "deep" / "program"]
    for file in files:
        file.write_text("content")
        file.chmod(0o700 if file.name == "program" else 0o600)
    keep(outputs)
    assert mode(outputs) == 0o700
    before = [etag_of(file.stat()) for file in files]
    make_readable(outputs)
    assert [etag_of(file.stat()) for file in files] == before
    assert [mode(file) for file in files] == [0o644, 0o755]


def test_missing_outputs_become_an_empty_folder(tmp_path: Path) -> None:
    make_readable(tmp_path / "task" / "outputs")
    assert list((tmp_path / "task" / "outputs").iterdir()) == []


def test_too_deep_outputs_are_refused(tmp_path: Path) -> None:
    outputs = folder = tmp_path / "task" / "outputs"
    folder.mkdir(parents=True)
    for _ in range(MAX_DEPTH + 2):
        folder /= "d"
        folder.mkdir()
    with pytest.raises(TooDeepError):
        make_readable(outputs)
