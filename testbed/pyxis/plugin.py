"""Pyxis on the nodes of a test's cluster: a stand-in for it, or the real one.

The stand-in is `stand_in.c`, a plugin of Slurm that is compiled here. The real one is in no
package: to use it, compile it, set `PYXIS` to its path, and put `enroot` on `PATH`
(docs/cluster.md).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed import debian
from testbed.slurm import Slurm, private_slurm

PYXIS = "FETCHML_TEST_PYXIS"
"""Variable with the path of the real plugin, `spank_pyxis.so`."""
_SOURCE = Path(__file__).with_name("stand_in.c")


def is_real() -> bool:
    return PYXIS in os.environ


@contextmanager
def nodes_with_pyxis() -> Iterator[Slurm]:
    """A cluster on whose nodes steps run in containers."""
    debian.install("squashfs-tools")
    with tempfile.TemporaryDirectory(prefix="fetchml-pyxis-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # srun reads the plugin as the account of the job.
        with _nodes(folder) as cluster:
            yield cluster


@contextmanager
def _nodes(folder: Path) -> Iterator[Slurm]:
    if is_real():
        line = f"{os.environ[PYXIS]} runtime_path={folder}"
    else:
        root = folder / "root"
        root.mkdir()
        line = f"{_build(folder)} {root}"
    (folder / "plugstack.conf").write_text(f"required {line}\n")
    with private_slurm(f"PlugStackConfig={folder}/plugstack.conf") as cluster:
        yield cluster


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
