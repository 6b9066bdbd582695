"""The committed binaries are what the source gives, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fetchml import shim

BUILD = Path(__file__).parents[2] / "shim" / "build.sh"


@pytest.mark.slow
def test_the_committed_binaries_come_from_this_source(tmp_path: Path) -> None:
    built = subprocess.run(
        [BUILD, tmp_path],
        env=os.environ | {"PYTHON": sys.executable},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for machine in ("x86_64", "aarch64"):
        committed = shim.path(machine)
        rebuilt = tmp_path / committed.name
        assert rebuilt.read_bytes() == committed.read_bytes(), (
            f"{committed.name} does not match shim/*.c: run `make shim` and commit the result"
        )
        assert os.access(committed, os.X_OK)


def test_other_processors_are_refused_with_a_reason() -> None:
    with pytest.raises(shim.UnsupportedMachineError, match=r"'riscv64'.*x86_64 and aarch64"):
        shim.path("riscv64")


def test_other_names_of_the_same_processors() -> None:
    assert shim.path("AMD64") == shim.path("x86_64")
    assert shim.path("arm64") == shim.path("aarch64")
    assert shim.path() in {shim.path("x86_64"), shim.path("aarch64")}
