"""A release is made after the audit only, and its output reports that it is not signed."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import ran

ROOT = Path(__file__).parents[2]
BUILDS = 7
"""Exit code of the first step after the audit."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the script, an audit that ends as AUDIT names, and a page that fails."""
    for name in ("build/release.sh", "build/sign.sh"):
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
        copy.chmod(0o755)
    for name, script in (
        (".venv/bin/python", 'echo "ran $*"; exit $AUDIT'),
        ("build/web.sh", f"exit {BUILDS}"),
    ):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message=a")):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return tmp_path


def release(tree: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "RELEASE_AUDIT"}
    return ran([tree / "build/release.sh"], env={**env, **variables})


@pytest.mark.skipif(os.geteuid() != 0, reason="a release needs root")
@pytest.mark.parametrize(
    ("audit", "mode", "asked", "code"),
    [
        ("1", "", "--strict", 1),
        ("0", "", "--strict", BUILDS),
        ("0", "strict", "--strict", BUILDS),
        ("0", "offline", "build/audit.py\n", BUILDS),
        ("1", "offline", "build/audit.py\n", 1),
    ],
)
def test_nothing_is_built_if_the_audit_fails(
    tree: Path, audit: str, mode: str, asked: str, code: int
) -> None:
    ran = release(tree, AUDIT=audit, **({"RELEASE_AUDIT": mode} if mode else {}))
    assert ran.returncode == code, ran.stderr
    assert asked in ran.stdout
    if not mode and code == 1:
        assert "RELEASE_AUDIT=offline" in ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a release needs root")
def test_unknown_audit_mode_is_refused(tree: Path) -> None:
    ran = release(tree, AUDIT="0", RELEASE_AUDIT="no")
    assert ran.returncode == 1
    assert "strict or offline" in ran.stderr
