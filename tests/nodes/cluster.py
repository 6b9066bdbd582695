"""A cluster whose nodes have every program that runs images, and the images that its tests run."""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from testbed import debian
from testbed.apptainer import program as apptainer
from testbed.pyxis import plugin as pyxis
from testbed.slurm import Slurm, private_slurm
from tests.jupyter.image import changes_of
from tests.support.commands import ran
from tests.support.jupyter_root import Root

PROGRAMS = ("sh", "sleep", "echo", "cat", "id", "ls", "stat", "kill", "true", "touch", "printf")
CHANGES = ("ENV PATH=/bin OF_IMAGE=yes",)


@dataclass(frozen=True, slots=True)
class Archive:
    """An image's root file system and its settings."""

    name: str
    tar: Path
    changes: Sequence[str]
    """As lines of a Dockerfile."""


def small_archive(folder: Path) -> Archive:
    """An image with a shell and little else."""
    debian.install("busybox-static")
    busybox = shutil.which("busybox")
    assert busybox is not None
    path = folder / "small.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "etc", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(busybox, "bin/busybox")
        for name in PROGRAMS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        _add(tar, "etc/marker", "of the image\n")
    return _with_variables(Archive("small", path, CHANGES))


def jupyter_archive(root: Root) -> Archive:
    return _with_variables(Archive("jupyter", root.archive, changes_of(root.python)))


def _with_variables(archive: Archive) -> Archive:
    """Images of enroot and Apptainer have their variables in files."""
    words = [
        word.partition("=")
        for line in archive.changes
        if line.startswith("ENV ")
        for word in line.removeprefix("ENV ").split()
    ]
    with tarfile.open(archive.tar, "a") as tar:
        _add(tar, "etc/environment", "".join(f"{name}={value}\n" for name, _, value in words))
        exports = "".join(f"export {name}={value}\n" for name, _, value in words)
        _add(tar, ".singularity.d/env/90-environment.sh", exports)
    return archive


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text), 0o755
    tar.addfile(entry, BytesIO(text.encode()))


class ImageFiles:
    """Images as files, each written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def squashed(self, archive: Archive) -> Path:
        """A squashfs file, as enroot writes those that it imports."""
        path = self._folder / f"{archive.name}.sqsh"
        if not path.exists():
            with archive.tar.open("rb") as file:
                # Without compression, which takes longer than all that is done with the file.
                plain = ["-noI", "-noD", "-noF", "-noX"]
                ran(["sqfstar", "-quiet", *plain, path], stdin=file, check=True)
        return path

    def sif(self, archive: Archive) -> Path:
        path = self._folder / f"{archive.name}.sif"
        if not path.exists():
            apptainer.write_image(self.squashed(archive), path)
        return path


@dataclass(frozen=True, slots=True)
class Nodes:
    slurm: Slurm
    files: ImageFiles


@contextmanager
def nodes_with_containers() -> Iterator[Nodes]:
    debian.install("podman", "crun", "busybox-static", "uidmap", "fuse-overlayfs")
    with tempfile.TemporaryDirectory(prefix="fetchml-nodes-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Jobs of other accounts read what is below.
        places = {each: folder / each for each in ("pyxis", "programs", "images")}
        for place in places.values():
            place.mkdir()
        apptainer.install(places["programs"])
        programs = {Path("/usr/local/sbin"): places["programs"]}
        with private_slurm(pyxis.settings(places["pyxis"]), programs=programs) as slurm:
            yield Nodes(slurm, ImageFiles(places["images"]))
