"""An attempt folder as the server makes it, and the real shim on it."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fetchml import shim
from tests.support.waiting import SECONDS

SHIM = os.environ.get("FETCHML_SHIM") or str(shim.path())
"""The variable names another build of it, with sanitizers for example."""


class Attempt:
    """The `run/` folder of one attempt."""

    def __init__(self, folder: Path, *, opened: bool = True) -> None:
        self.folder = folder / "run"
        self.folder.mkdir()
        os.mkfifo(self.folder / "gate")
        if opened:
            (self.folder / "open").touch()

    def argv(
        self,
        *command: str,
        segment_bytes: int = 1 << 20,
        grace_ms: int = 10_000,
        timeout_ms: int | None = None,
        warn_ms: int | None = None,
        control: Path | None = None,
        control_ms: int | None = None,
        cwd: Path | None = None,
    ) -> list[str]:
        argv = [SHIM, "--dir", str(self.folder), "--segment-bytes", str(segment_bytes)]
        argv += ["--grace-ms", str(grace_ms)]
        argv += [] if timeout_ms is None else ["--timeout-ms", str(timeout_ms)]
        argv += [] if warn_ms is None else ["--warn-ms", str(warn_ms)]
        argv += [] if control is None else ["--control", str(control)]
        argv += [] if control_ms is None else ["--control-ms", str(control_ms)]
        argv += [] if cwd is None else ["--cwd", str(cwd)]
        return [*argv, "--", *command]

    def open_gate(self) -> None:
        (self.folder / "open").touch()
        fd = os.open(self.folder / "gate", os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, b"1")
        os.close(fd)

    def record(self, name: str) -> dict[str, str]:
        lines = (self.folder / name).read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def end(self) -> dict[str, str]:
        return self.record("exit")

    def segments(self) -> dict[int, bytes]:
        """What is kept of the log, by offset."""
        files = sorted(self.folder.glob("log.*"))
        return {int(file.name.removeprefix("log.")): file.read_bytes() for file in files}

    def log(self) -> str:
        return b"".join(self.segments().values()).decode()


def run(argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """The shim's exit status."""
    return subprocess.run(
        argv, env=env, stdin=subprocess.PIPE, timeout=SECONDS, check=False
    ).returncode


def in_mount_namespace(script: str) -> list[str]:
    """A shell that may mount what it likes, unseen by others; the script's arguments follow."""
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    return [*namespace, "sh", "-euc", script, "sh"]


@contextmanager
def running(argv: Sequence[str], stderr: int | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """The shim, which a test that fails does not leave behind."""
    with subprocess.Popen(argv, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.kill()


def waits_at_gate(process: "subprocess.Popen[bytes]") -> bool:
    """Asleep in poll(), with the gate open."""
    proc = Path(f"/proc/{process.pid}")
    try:
        fds = [str(fd.readlink()) for fd in (proc / "fd").iterdir()]
    except FileNotFoundError:  # one was closed meanwhile
        return False
    state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
    return state == "S" and any(fd.endswith("/gate") for fd in fds)


def gone(pid: int) -> bool:
    """Whether no such process is left, not even a zombie."""
    return not Path(f"/proc/{pid}").exists()


def await_death(pid: int) -> None:
    """Until the process, nobody's child here, has died."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([fd], [], [], SECONDS)
        assert ready, f"process {pid} lives on"
    finally:
        os.close(fd)


def end_by(process: "subprocess.Popen[bytes]", number: signal.Signals) -> int:
    """Send the signal; the shim's exit status."""
    process.send_signal(number)
    return process.wait(SECONDS)
