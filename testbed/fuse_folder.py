"""A folder behind FUSE, as a network disk is: users see it through a process of its own, which a
test can stop or end. Only root can mount it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed import debian
from testbed.patience import SECONDS

_DEVICE = Path("/dev/fuse")


class FuseFolder:
    """One mount of `source` at `at`. Several of one source know nothing of each other, as the hosts
    of a network disk: what is written through one causes no event of inotify in the others."""

    def __init__(self, source: Path, at: Path, inside: Sequence[str] = ()) -> None:
        """`inside`: a command that runs another one in the mount namespace for it."""
        self._source = source
        self._at = at
        self._inside = inside
        self._process: subprocess.Popen[bytes] | None = None

    def mount(self) -> None:
        """Mount it, and return when it is there."""
        command = [*self._inside, "bindfs", "-f", str(self._source), str(self._at)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + SECONDS
        while not self._is_mounted(self._process.pid):
            code = self._process.poll()
            assert code is None, f"bindfs ended with {code}: {self._at} is not mounted"
            assert time.monotonic() < deadline, f"{self._at} is not mounted"
            time.sleep(0.01)

    def hang(self) -> None:
        """Answer nothing until `go_on`: every access waits."""
        self._running().send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def break_off(self) -> None:
        """Kill it: every access fails (ENOTCONN) until it is unmounted."""
        self._running().kill()
        self._running().wait()

    def unmount(self) -> None:
        subprocess.run([*self._inside, "umount", "--lazy", self._at], check=True)
        if self._process is not None:
            self._process.kill()  # It would complain that it is unmounted already.
            self._process.wait()
            self._process = None

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def _is_mounted(self, pid: int) -> bool:
        lines = (line.split() for line in Path(f"/proc/{pid}/mounts").read_text().splitlines())
        return any(line[1] == str(self._at) and line[2].startswith("fuse") for line in lines)


def install() -> None:
    """Install bindfs where it is missing, and make the device where a container has none."""
    if shutil.which("bindfs") is None:
        debian.install("bindfs")
    if not _DEVICE.exists():
        os.mknod(_DEVICE, 0o20666, os.makedev(10, 229))


@contextmanager
def fuse_folders(source: Path, at: Path, *nodes: Sequence[str]) -> Iterator[FuseFolder]:
    """Mount `source` at `at` here, and once more in the mount namespace of each of `nodes`, which
    get the mounts of this one (`inside` of a FuseFolder). Yields the mount here."""
    install()
    source.mkdir(mode=0o700, exist_ok=True)
    at.mkdir(mode=0o700, exist_ok=True)
    mounted: list[FuseFolder] = []
    try:
        for inside in ((), *nodes):
            folder = FuseFolder(source, at, inside)
            folder.mount()
            mounted.append(folder)
        yield mounted[0]
    finally:
        for folder in reversed(mounted):
            folder.unmount()
