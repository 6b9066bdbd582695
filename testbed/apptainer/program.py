"""Apptainer on the nodes of a test's cluster: a stand-in for it, or the real one.

The real one is in no stable release of Debian: to use it, install it and set `APPTAINER` to its
path (docs/cluster-containers.md).
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from testbed import debian
from testbed.apptainer import stand_in

APPTAINER = "FETCHML_TEST_APPTAINER"
"""Variable with the path of the real program, `apptainer`."""


def is_real() -> bool:
    return APPTAINER in os.environ


def install(folder: Path) -> None:
    """Put the program into a folder for programs of nodes."""
    debian.install("squashfs-tools")
    command = os.environ.get(APPTAINER) or f"{sys.executable} -I {stand_in.__file__}"
    program = folder / "apptainer"
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)


def write_image(squashed: Path, image: Path) -> None:
    """Write an image file. `squashed`: its root, as a squashfs file, which is all that the
    stand-in needs."""
    if not is_real():
        image.hardlink_to(squashed)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = f"{folder}/root"
        unpack = ["unsquashfs", "-no-progress", "-quiet", "-dest", root, str(squashed)]
        subprocess.run(unpack, check=True, capture_output=True)
        build = [os.environ[APPTAINER], "build", str(image), root]
        subprocess.run(build, check=True, capture_output=True)
