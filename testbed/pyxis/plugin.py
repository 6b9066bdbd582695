"""Pyxis on the nodes of a test's cluster: a stand-in for it, or the real one.

The stand-in is `stand_in.c`, a plugin of Slurm that is compiled here. The real one is in no
package: to use it, compile it, set `PYXIS` to its path, and put `enroot` on `PATH`
(docs/cluster-containers.md).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from testbed import debian

PYXIS = "FETCHML_TEST_PYXIS"
"""Variable with the path of the real plugin, `spank_pyxis.so`."""
_SOURCE = Path(__file__).with_name("stand_in.c")


def is_real() -> bool:
    return PYXIS in os.environ


def settings(folder: Path) -> str:
    """Return the line of slurm.conf by which steps may run in containers. `folder`: for the files
    of the plugin, which srun reads as the account of the job."""
    debian.install("squashfs-tools")
    if is_real():
        line = f"{os.environ[PYXIS]} runtime_path={folder}"
    else:
        root = folder / "root"
        root.mkdir()
        line = f"{_build(folder)} {root}"
    (folder / "plugstack.conf").write_text(f"required {line}\n")
    return f"PlugStackConfig={folder}/plugstack.conf"


def write_image(root: Path, image: Path) -> None:
    """Write a folder to a squashfs file, as enroot writes those that it imports."""
    subprocess.run(
        ["mksquashfs", root, image, "-noappend", "-no-progress", "-quiet", "-all-root"],
        check=True,
        capture_output=True,
    )


def _build(folder: Path) -> Path:
    debian.install("libslurm-dev")
    plugin = folder / "spank_stand_in.so"
    compiler = [sys.executable, "-m", "ziglang", "cc"]
    command = [*compiler, "-shared", "-fPIC", "-std=gnu11", "-O1", "-Wall", "-Werror"]
    subprocess.run([*command, "-o", plugin, _SOURCE], check=True)
    return plugin


def containers_left() -> str:
    """Names of the containers that the real one has unpacked and not removed."""
    if not is_real():
        return ""  # The stand-in unpacks into memory that ends with the step.
    enroot = shutil.which("enroot")
    assert enroot is not None
    done = subprocess.run([enroot, "list"], check=True, capture_output=True, text=True)
    return " ".join(done.stdout.split())
