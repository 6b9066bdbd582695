"""A real shim with a real relay, entered by the server's side, without a cluster."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fetchml.adapters.node_relays.connector import read_record
from fetchml.adapters.node_relays.entry import RECORD, NodeEntries
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import LaunchSpec
from fetchml.shim import node_relay
from tests.shim.attempt import SHIM
from tests.support.waiting import SECONDS, wait_until

KEY = b"k" * 32
TASK_ID = "0198c0de-0000-7000-8000-000000000001"


class Attempt:
    """An attempt that runs, as on a node whose address is that of this host."""

    def __init__(self, path: Path, *, program: str = node_relay.__file__) -> None:
        self.run = LaunchSpec(TASK_ID, 1, "job", path / "attempt", "", (), {})
        self.folder = AttemptFolder(self.run.folder)
        self.folder.create(os.geteuid(), os.getegid())
        self.folder.open_gate()
        self.address: str | None = "127.0.0.1"
        self.is_woken = True
        self.wakes = self.looks = 0
        self._program = program
        self.server = self.entries()

    def start(self, command: str = "sleep 3600", **variables: str) -> None:
        argv = [SHIM, "--dir", str(self.folder.run), "--segment-bytes", "1000000"]
        argv += ["--grace-ms", "1000", "--cwd", str(self.folder.workspace)]
        argv += ["--control", str(self.folder.control), "--control-ms", str(1000 * SECONDS)]
        argv += ["--relay", self._program, "--", "sh", "-c", command]
        env = {"PATH": os.environ["PATH"], "OF_THE_TASK": "yes", **variables}
        self.shim = subprocess.Popen(argv, env=env)
        wait_until((self.folder.run / "started").exists, "the command runs")

    def address_of(self, _task_id: str, _attempt: int) -> str | None:
        self.looks += 1
        return self.address

    async def wake(self, _run: LaunchSpec) -> None:
        self.wakes += 1
        if self.is_woken:
            self.shim.send_signal(signal.SIGWINCH)

    def entries(self, key: bytes = KEY, ports: str = node_relay.ALL_PORTS) -> NodeEntries:
        return NodeEntries(SharedDisk(), self, lambda: key, ports)

    def port(self) -> int:
        """Of the relay that has left a record."""
        return int(read_record(self.folder.run, RECORD)["port"])

    def relays(self) -> list[int]:
        """Pids of the relays that run."""
        found = []
        for process in Path("/proc").iterdir():
            if process.name.isdecimal():
                try:
                    words = (process / "cmdline").read_bytes().split(b"\0")
                    stat = (process / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if self._program.encode() in words and int(stat[1]) == self.shim.pid:
                    found.append(int(process.name))
        return found


@asynccontextmanager
async def running(folder: Path, program: str = node_relay.__file__) -> AsyncIterator[Attempt]:
    made = Attempt(folder, program=program)
    made.start()
    try:
        yield made
    finally:
        await made.server.close()
        made.shim.kill()
        made.shim.wait()


@pytest.fixture
async def attempt(tmp_path: Path) -> AsyncIterator[Attempt]:
    async with running(tmp_path) as made:
        yield made
