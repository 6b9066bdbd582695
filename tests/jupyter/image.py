"""An image with JupyterLab, built once a run from this host's Python and a package index."""

import json
import sys
import tarfile
import tempfile
from pathlib import Path

import docker

from examples.local_image import CHANGES, Interpreter, fill, find_python, run

NAME = "fetchml-test/jupyter:1"
PACKAGES = ("jupyterlab",)
UNUSED = ("babel/locale-data/[!er]*.dat", "jedi/third_party/**/*.pyi")
"""Half of all files of these packages, none of which a test reads."""


def write_root(archive: Path) -> Interpreter:
    """Write the image's root file system to a tar archive."""
    python = find_python()
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder, "packages")
        staged.mkdir()
        install(python, staged)
        with tarfile.open(archive, "w") as tar:
            fill(tar, python, staged)
    return python


def install(python: Interpreter, target: Path) -> None:
    """Install the packages with uv, which takes a sixth of pip's time.

    With their bytecode: no container could keep what it compiles.
    """
    uv = [str(Path(sys.executable).with_name("uv")), "--quiet", "pip", "install"]
    options = ["--python", str(python.executable), "--target", str(target), "--link-mode=copy"]
    run([*uv, *options, "--only-binary=:all:", "--compile-bytecode", *PACKAGES])
    for path in (path for pattern in UNUSED for path in target.glob(pattern)):
        path.unlink()


def changes_of(python: Interpreter) -> list[str]:
    """Return the image's settings, as lines of a Dockerfile."""
    # uv put programs, settings and pages beside the packages, where Jupyter does not look.
    at = python.packages
    return [
        *CHANGES,
        f"ENV PATH={at}/bin:/usr/local/bin:/usr/bin:/bin",
        # One variable a line: Podman takes the rest for the first one's value.
        f"ENV JUPYTER_PATH={at}/share/jupyter",
        f"ENV JUPYTER_CONFIG_PATH={at}/etc/jupyter",
        f"ENV JUPYTERLAB_DIR={at}/share/jupyter/lab",
    ]


def import_root(client: docker.DockerClient, archive: Path, python: Interpreter) -> None:
    """Make the image in this engine."""
    repository, _, version = NAME.partition(":")
    reply = client.api.import_image(
        str(archive), repository=repository, tag=version, changes=changes_of(python)
    )
    last = json.loads(reply.strip().splitlines()[-1])
    assert "error" not in last, last
