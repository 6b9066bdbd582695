"""The shared folder is recognized after a new mount, and no other folder is taken for it."""

from pathlib import Path

import pytest

from fetchml.adapters.slurm import health
from fetchml.adapters.slurm.health import MARKER, SharedIdentity


def test_folder_that_was_mounted_again_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SharedIdentity(tmp_path)
    with pytest.raises(OSError, match="is it mounted"):
        shared.require_same()
    shared.keep()
    shared.require_same()
    monkeypatch.setattr(health, "device_and_inode", lambda _: (1, 2))
    shared.require_same()
    (tmp_path / MARKER).unlink()
    shared.require_same()  # By its device and inode, which are those of the last time.
    assert (tmp_path / MARKER).exists() is False


@pytest.mark.parametrize("word", [None, "", "another"])
def test_other_folder_is_not_taken_for_it(tmp_path: Path, word: str | None) -> None:
    shared_dir = tmp_path / "shared"
    shared_dir.mkdir()
    shared = SharedIdentity(shared_dir)
    shared.keep()
    shared_dir.rename(tmp_path / "away")
    with pytest.raises(OSError, match="is it mounted"):
        shared.require_same()
    shared_dir.mkdir()
    if word is not None:
        (shared_dir / MARKER).write_text(word)
    with pytest.raises(OSError, match="is it mounted"):
        shared.require_same()


def test_word_stays_from_server_to_server(tmp_path: Path) -> None:
    SharedIdentity(tmp_path).keep()
    word = (tmp_path / MARKER).read_text()
    SharedIdentity(tmp_path).keep()
    assert (tmp_path / MARKER).read_text() == word
    assert len(word) == 32
    assert (tmp_path / MARKER).stat().st_mode & 0o077 == 0
