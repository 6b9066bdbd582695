"""A release's signature, checked as docs/operations.md shows it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from testbed import debian
from tests.support.commands import ran

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(
    r"^\$ (ssh-keygen -Y verify .*|sha256sum --check .*)$",
    (ROOT / "docs/operations.md").read_text(),
    re.MULTILINE,
)


def sign(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return ran([ROOT / "build/sign.sh", folder], check=True, env={**os.environ, **variables})


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder with two files, signed; `allowed` in it has the public key."""
    if shutil.which("ssh-keygen") is None:
        debian.install("openssh-client")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    folder = tmp_path / "release"
    folder.mkdir()
    for name in ("fetchml-1-linux", "fetchml-1-linux.cdx.json"):
        (folder / name).write_text(name)
    sign(folder, RELEASE_KEY=str(key))
    (folder / "allowed").write_text(f"fetchml {key.with_suffix('.pub').read_text()}")
    return folder


def is_accepted(folder: Path) -> bool:
    assert len(COMMANDS) == 2
    ran = [
        subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, check=False)
        for line in COMMANDS
    ]
    return all(each.returncode == 0 for each in ran)


def test_signed_release_is_accepted(release: Path) -> None:
    assert is_accepted(release)


def test_changed_file_is_rejected(release: Path) -> None:
    (release / "fetchml-1-linux").write_text("changed")
    assert not is_accepted(release)


def test_changed_checksums_are_rejected(release: Path) -> None:
    sums = release / "SHA256SUMS"
    sums.write_text(sums.read_text().splitlines()[0] + "\n")
    assert not is_accepted(release)


def test_missing_key_is_reported_and_nothing_is_signed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = sign(tmp_path, RELEASE_KEY="")
    assert "NOT SIGNED" in ran.stderr
    assert not (tmp_path / "SHA256SUMS.sig").exists()
