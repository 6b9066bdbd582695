"""Make a container image from this machine's own Python, with no registry.

    python examples/local_image.py my-image:1
    python examples/local_image.py my-image:2 --with scikit-learn pandas

The image holds Python with its standard library, every shared library that these need, a shell
with the usual small commands, and the pip packages asked for. It runs as any user, with a
read-only root. For a machine that reaches a registry, `FROM python:3.12-slim` is the usual way.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import docker
from docker.models.images import Image

# Parts of the standard library that no task needs: they would double the image.
LEFT_OUT = {"test", "idlelib", "turtledemo", "ensurepip", "site-packages", "dist-packages"}
# Loaded by name at run time, so that ldd does not see them: for thread ends, and for the wheels of
# packages that tasks bring along.
LOADED_BY_NAME = (
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
)
ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\n",
}
CHANGES = ["ENV PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8", 'CMD ["python3"]']


class Interpreter(NamedTuple):
    """A Python on this machine."""

    executable: Path
    stdlib: Path
    packages: Path
    """Where it looks for installed packages."""


def build_base(client: docker.DockerClient, tag: str, packages: Sequence[str] = ()) -> Image:
    """Make the image `tag` in the engine behind `client`.

    `packages` are pip requirements. Raises `CalledProcessError` when pip or ldd fails, and
    `RuntimeError` when the engine refuses the image.
    """
    python = find_python()
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder, "packages")
        staged.mkdir()
        if packages:
            install(python, packages, staged)
        archive = Path(folder, "image.tar")
        with tarfile.open(archive, "w") as tar:
            fill(tar, python, staged)
        repository, _, version = tag.partition(":")
        reply = client.api.import_image(
            str(archive), repository=repository, tag=version or "latest", changes=CHANGES
        )
    last = json.loads(reply.strip().splitlines()[-1])
    if "error" in last:
        raise RuntimeError(f"the Docker engine rejected the image {tag}: {last['error']}")
    return client.images.get(tag)


def find_python() -> Interpreter:
    """Describe the system's Python, or the one that runs this where there is no other."""
    system = Path("/usr/bin/python3")
    base = Path(sys.base_prefix, "bin", "python3")
    executable = (system if system.exists() else base).resolve()
    ask = "import sysconfig; print(*map(sysconfig.get_path, ('stdlib', 'purelib')), sep='\\n')"
    stdlib, packages = run([str(executable), "-c", ask]).splitlines()
    return Interpreter(executable, Path(stdlib), Path(packages))


def install(python: Interpreter, packages: Sequence[str], target: Path) -> None:
    """Install `packages` for `python` into the folder `target`, with this Python's pip."""
    pip = [sys.executable, "-m", "pip", "--python", str(python.executable), "install", "--quiet"]
    options = ["--only-binary=:all:", "--root-user-action=ignore", "--target", str(target)]
    run([*pip, *options, *packages])


def fill(tar: tarfile.TarFile, python: Interpreter, staged: Path) -> None:
    """Write the whole root file system of the image."""
    image = _Root(tar)
    for name, target in {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib"}.items():
        image.link(name, target)
    image.link("lib64", "usr/lib64")
    image.folder("tmp", mode=0o1777)
    for name, text in ACCOUNTS.items():
        image.text(name, text)

    image.file(python.executable)
    for name in ("python", "python3"):
        image.link(f"usr/bin/{name}", str(python.executable))
    stdlib = list(files_below(python.stdlib, LEFT_OUT))
    for path in stdlib:
        image.file(path)
    installed = list(files_below(staged, set()))
    for path in installed:
        image.file(path, python.packages / path.relative_to(staged))

    programs = [python.executable, add_shell(image)]
    modules = [path for path in (*stdlib, *installed) if ".so" in path.suffixes]
    for path in shared_libraries([*programs, *modules]):
        if not path.is_relative_to(staged):
            image.file(path)


def add_shell(image: "_Root") -> Path:
    """Add busybox with all its commands, or the machine's own shell where there is none."""
    if shutil.which("busybox") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for arguments in ("update", "install -y --no-install-recommends busybox-static"):
            command = ["apt-get", "-qq", *arguments.split()]
            subprocess.run(command, check=False, capture_output=True)
    busybox = shutil.which("busybox")
    if busybox is None:
        shell = Path("/bin/sh").resolve()
        image.file(shell, Path("/usr/bin/sh"))
        return shell
    image.file(Path(busybox), Path("/usr/bin/busybox"))
    for applet in run([busybox, "--list"]).split():
        image.link(f"usr/bin/{applet}", "busybox")
    return Path(busybox)


def files_below(folder: Path, left_out: set[str]) -> Iterator[Path]:
    """List the files in a tree, except in folders with a name in `left_out`."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in left_out]
        yield from (path for name in files if (path := Path(parent, name)).exists())


def shared_libraries(programs: Iterable[Path]) -> set[Path]:
    """List all that the dynamic linker loads for `programs`, the linker itself included."""
    # ldd ends with 1 where one of the files is static, with its answers for the others given.
    ldd = ["ldd", *map(str, programs)]
    listed = subprocess.run(ldd, check=False, capture_output=True, text=True).stdout
    found = {Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}
    known = run([shutil.which("ldconfig") or "/sbin/ldconfig", "-p"])
    by_name = dict(re.findall(r"^\s+(\S+) .* => (\S+)$", known, re.MULTILINE))
    return found | {Path(by_name[name]) for name in LOADED_BY_NAME if name in by_name}


def run(command: Sequence[str]) -> str:
    """Run a command and give its output; its errors go to the terminal."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class _Root:
    """An archive of a root file system: everything belongs to root, and anyone may read it."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._names: set[str] = set()

    def file(self, source: Path, target: Path | None = None) -> None:
        """Add the file `source`, with what it holds where it is a link, as `target`."""
        info = self._tar.gettarinfo(source.resolve(), self._place(target or source))
        if info.isreg() and self._is_new(info.name):
            info.mode |= 0o444
            with source.open("rb") as content:
                self._write(info, content)

    def text(self, name: str, text: str) -> None:
        content = text.encode()
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self._is_new(name)
        self._write(info, io.BytesIO(content))

    def link(self, name: str, target: str) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        if self._is_new(name):
            self._write(info)

    def folder(self, name: str, mode: int = 0o755) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, mode
        if self._is_new(name):
            self._write(info)

    def _is_new(self, name: str) -> bool:
        """Claim a name; the folders above it come first, open to all."""
        if name in self._names:
            return False
        self._names.add(name)
        if parent := name.rpartition("/")[0]:
            self.folder(parent)
        return True

    def _write(self, info: tarfile.TarInfo, content: io.BufferedIOBase | None = None) -> None:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        self._tar.addfile(info, content)

    @staticmethod
    def _place(path: Path) -> str:
        """Where a file of this machine goes: `/lib` and its like are links into `/usr`."""
        return re.sub(r"^(bin|sbin|lib|lib64)/", r"usr/\1/", str(path).lstrip("/"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a container image with no registry.")
    parser.add_argument("tag", help="the image's name, such as my-image:1")
    parser.add_argument(
        "--with", dest="packages", metavar="PKG", nargs="+", default=[], help="pip packages to add"
    )
    args = parser.parse_args()
    client = docker.from_env()
    began = time.monotonic()
    image = build_base(client, args.tag, args.packages)
    size = image.attrs["Size"] / 2**20
    print(f"{args.tag} is ready: {size:.0f} MiB, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
