"""Lets uv run as a plain process of the server's user, as tasks do under the process launcher.

There is no isolation: a package's build can do whatever the server's user can.
"""

import asyncio
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

from fetchml.adapters.uv_command import SCRIPT, UvOptions, variables
from fetchml.ports.environment_builder import (
    ENVIRONMENT,
    HOME,
    SOURCE,
    Build,
    BuildFailed,
    Platform,
)
from fetchml.ports.launcher import PrepareError
from fetchml.ports.task_environment import DEFAULT_PATH
from fetchml.system import failpoints, processes

MAX_OUTPUT_BYTES = 64 * 1024
"""The end of the output, which is kept."""
_LINE_BYTES = 16 * 1024
_MARK = "FETCHML_BUILD"
"""Variable by which a later server finds the processes of a build."""
_OOM_SCORE = "600"


class ProcessEnvironmentBuilder:
    """`EnvironmentBuilder` for plain processes."""

    mount_path: str | None = None
    has_network = True

    def __init__(self, uv: Path, options: UvOptions, *, root: Path, timeout_seconds: float) -> None:
        """`root`: the folder of all builds."""
        self._uv = uv
        self._options = options
        self._root = root
        self._timeout_seconds = timeout_seconds

    async def open(self, instance_id: str) -> None:
        await self._end(f"{self._root}/")

    async def earlier_ended(self) -> None:
        """They ended in `open`."""

    async def platform(self, image: str, progress: Callable[[str], None]) -> Platform:
        return await asyncio.to_thread(_platform)

    async def build(self, build: Build, progress: Callable[[str], None]) -> None:
        output = deque[bytes]()
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            f"umask 077\n{SCRIPT}",
            cwd=build.folder / SOURCE,
            env=self._environment(build),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=_LINE_BYTES,
        )
        failpoints.reach("environment_started")
        timed_out = False
        try:
            _set_oom_score(process.pid)
            async with asyncio.timeout(self._timeout_seconds):
                await _read(process, output, progress)
                await process.wait()
        except TimeoutError:
            timed_out = True
        finally:
            # Also what it left in the background, and when it was cancelled.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, SIGKILL)
            await self._end(f"{build.folder}")
            await process.wait()
        if timed_out:
            why = f"timed out after {self._timeout_seconds:g} s"
            raise BuildFailed(None, b"".join(output), why=f"{why} ([environments] timeout_seconds)")
        if process.returncode:
            raise BuildFailed(process.returncode, b"".join(output))

    async def close(self) -> None:
        """Builds end with the calls that run them."""

    def _environment(self, build: Build) -> dict[str, str]:
        home = build.folder / HOME
        return {
            **variables(self._options),
            _MARK: str(build.folder),
            "PATH": DEFAULT_PATH,
            "HOME": str(home),
            "TMPDIR": str(home),
            "UV_CACHE_DIR": str(build.cache),
            "BUILD_UV": str(self._uv),
            "BUILD_PYTHON": _interpreter(),
            "BUILD_SOURCE": str(build.folder / SOURCE),
            "BUILD_ENVIRONMENT": str(build.folder / ENVIRONMENT),
            "BUILD_KIND": build.kind,
            "BUILD_PATH": build.path,
        }

    async def _end(self, folder: str) -> None:
        """Kill all processes of builds whose folder begins with `folder`."""
        mark = f"{_MARK}={folder}"

        def is_ours(pid: int) -> bool:
            if processes.owner(pid) != os.geteuid():
                return False
            return any(line.startswith(mark) for line in processes.environment(pid))

        while True:
            with processes.opened(processes.pids(), is_ours) as pidfds:
                for pidfd in pidfds:
                    processes.send(pidfd, SIGKILL)
                if not pidfds:
                    return
                await processes.wait_ended(pidfds)


async def _read(
    process: asyncio.subprocess.Process, output: deque[bytes], progress: Callable[[str], None]
) -> None:
    """Keep the end of the output, and report its lines."""
    size = 0
    stream = process.stdout
    while stream is not None:
        try:
            line = await stream.readline()
        except ValueError:  # The line is too long; its beginning was dropped.
            continue
        if not line:
            return
        output.append(line)
        size += len(line)
        while size > MAX_OUTPUT_BYTES:
            size -= len(output.popleft())
        progress(line.decode(errors="replace").strip())


def _set_oom_score(pid: int) -> None:
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(_OOM_SCORE)


def _interpreter() -> str:
    """Return the Python of tasks, or else the server's own. Raises PrepareError."""
    path = shutil.which("python3", path=DEFAULT_PATH) or shutil.which("python", path=DEFAULT_PATH)
    if path is None and not getattr(sys, "frozen", False):
        path = sys.executable
    if not path:
        message = f"python3 not found in {DEFAULT_PATH}: install Python on this machine"
        raise PrepareError(message, permanent=True)
    return path


def _platform() -> Platform:
    interpreter = Path(_interpreter()).resolve()
    status = interpreter.stat()
    machine = os.uname().machine
    return Platform(f"{machine} {interpreter} {status.st_size} {status.st_mtime_ns}", DEFAULT_PATH)
