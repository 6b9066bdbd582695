"""Whether the cluster takes work: Slurm answers, and the shared folder can be used."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

from fetchml.adapters.slurm import start_files
from fetchml.files import untrusted
from fetchml.files.layout import ARRAYS, TASKS
from fetchml.files.own_file import write_durably
from fetchml.files.shared_disk import SharedDisk, not_mounted
from fetchml.system.background import every

DISK_CHECK_SECONDS = 5.0


class ClusterHealth:
    """Reports whether tasks can be handed over. Used from one event loop."""

    def __init__(
        self, shared_dir: Path, disk: SharedDisk, prepare: Callable[[], None] = lambda: None
    ) -> None:
        """`prepare`: makes the shared folder ready, in a thread; raises OSError."""
        self._prepare = prepare
        self.shims = Path()
        """Where nodes find the shim; set once the shared folder was usable."""
        self._shared_dir = shared_dir
        self._disk = disk
        self._slurm_fault: str | None = "Slurm has not answered yet"
        self._disk_fault: str | None = "the shared folder was not checked yet"
        self._identity = SharedIdentity(shared_dir)
        self._reported: tuple[bool, str] | None = None
        self._on_available: Callable[[bool, str], None] | None = None
        self._available = asyncio.Event()
        self._upkeep = AsyncExitStack()

    async def open(
        self, first_poll: Callable[[], Awaitable[None]], on_available: Callable[[bool, str], None]
    ) -> None:
        """Check Slurm and the folder, report the result, and check the folder at intervals.
        `first_poll` ends in `slurm_seen` or `slurm_away`."""
        await self._check_disk()
        await first_poll()
        self._on_available = on_available
        self._report()
        seconds = DISK_CHECK_SECONDS
        checks = every(seconds, self._check_disk, first=seconds, failure="the disk check failed")
        await self._upkeep.enter_async_context(checks)

    async def close(self) -> None:
        await self._upkeep.aclose()

    async def until_available(self) -> None:
        await self._available.wait()

    @property
    def _fault(self) -> str | None:
        return self._slurm_fault or self._disk_fault

    def slurm_seen(self) -> None:
        if self._slurm_fault is not None:
            self._slurm_fault = None
            self._report()

    def slurm_away(self, why: str) -> None:
        self._slurm_fault = f"Slurm does not answer: {why}"
        self._report()

    def require_same(self) -> None:
        """Raises OSError if another folder is mounted there now. In a thread."""
        self._identity.require_same()

    async def _check_disk(self) -> None:
        shared = self._shared_dir
        try:
            if self._identity.is_set:
                await self._disk(self._identity.require_same)
            await self._disk(partial(check_shared, shared))
            if not self._identity.is_set:
                self.shims = await self._disk(partial(start_files.install_shims, shared))
                for name in (TASKS, ARRAYS):
                    await self._disk(partial((shared / name).mkdir, 0o700, exist_ok=True))
                await self._disk(self._prepare)
                await self._disk(self._identity.keep)
            self._disk_fault = None
        except OSError as error:
            reason = error.strerror or error
            self._disk_fault = f"cannot use the shared folder {shared}: {reason}"
        self._report()

    def _report(self) -> None:
        report = (True, "Slurm runs the tasks") if self._fault is None else (False, self._fault)
        if self._fault is None:
            self._available.set()
        else:
            self._available.clear()
        if self._on_available is not None and report != self._reported:
            self._reported = report
            self._on_available(*report)


def check_shared(shared_dir: Path) -> None:
    """Check that the shared folder can be written to. Raises OSError."""
    probe = shared_dir / f".fetchml-probe-{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()


MARKER = ".fetchml-folder"
_WORD_BYTES = 64


class SharedIdentity:
    """Recognizes the shared folder after a new mount. Its methods block, and raise OSError.

    While it is not mounted, there is another folder under its path. A new mount may have another
    device and inode (NFS, FUSE): then a random word in a file of it decides.
    """

    def __init__(self, shared_dir: Path) -> None:
        self._shared_dir = shared_dir
        self._folder: tuple[int, int] | None = None
        """Device and inode of the folder as last recognized; `None` before `keep`."""
        self._word = ""

    @property
    def is_set(self) -> bool:
        return self._folder is not None

    def keep(self) -> None:
        """Note the folder as it is now."""
        folder = device_and_inode(self._shared_dir)
        if not self._read():
            word = secrets.token_hex(16).encode()
            write_durably(self._shared_dir / MARKER, word, sync_name=False)
        self._word = self._read()  # Another server may have replaced it just now.
        self._folder = folder

    def require_same(self) -> None:
        """Raises OSError if it is another folder, or none."""
        folder = None
        with suppress(FileNotFoundError):
            folder = device_and_inode(self._shared_dir)
        if folder is None or self._folder is None:
            raise not_mounted(self._shared_dir)
        if folder != self._folder and self._read() != self._word:
            raise not_mounted(self._shared_dir)
        self._folder = folder

    def _read(self) -> str:
        folder = os.open(self._shared_dir, untrusted.FOLDER)
        try:
            data = untrusted.read_regular(folder, MARKER, 0, _WORD_BYTES)
        except FileNotFoundError:
            return ""
        finally:
            os.close(folder)
        return data.decode(errors="replace")


def device_and_inode(folder: Path) -> tuple[int, int]:
    """Return two numbers that differ for another folder. Raises OSError."""
    status = folder.stat()
    return status.st_dev, status.st_ino
