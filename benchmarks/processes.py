"""The processes of a benchmark: the real server, a bare one beside it, and who loads them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from testbed.server_processes import kill_tasks, resident_bytes

KEY = "benchmark-" + "k" * 32
STOP_SECONDS = 30
NO_QUOTAS = {"quotas_user_queued": "0", "quotas_user_queued_mb": "0"}
"""Settings for a load that is one user's."""

P = ParamSpec("P")
T = TypeVar("T")


class Server(NamedTuple):
    process: subprocess.Popen[str]
    http: str
    """HOST:PORT; empty if it has none."""
    grpc: str
    ready_seconds: float
    """From the start of the process until it said that it is ready."""

    def cpu_seconds(self) -> float:
        """What all its threads have used so far; the executable's are of two processes."""
        return sum(map(processor_seconds, self._pids()))

    def memory_bytes(self) -> int:
        """Resident, of all its processes."""
        return resident_bytes(*self._pids())

    def _pids(self) -> list[int]:
        """Not those of tasks. A child that was begun later is one, also before it executes the
        shim: until then it has the server's program and memory."""
        first = self.process.pid
        program = Path(f"/proc/{first}/exe").readlink()
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        latest = _begun(first) + self.ready_seconds
        ours = [first]
        for pid in map(int, children):
            with suppress(FileNotFoundError):  # The shim of a task has ended meanwhile.
                if Path(f"/proc/{pid}/exe").readlink() == program and _begun(pid) <= latest:
                    ours.append(pid)
        return ours


def _begun(pid: int) -> float:
    """Seconds from the start of the system to that of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def descendants(name: str) -> list[int]:
    """The processes below this one whose name begins so."""
    parents: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            head, _, rest = (folder / "stat").read_text().rpartition(")")
            parents[int(folder.name)] = int(rest.split()[1]), head.partition("(")[2]

    def is_below(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid][0]
        return pid == os.getpid()

    return [pid for pid, (_, known) in parents.items() if known.startswith(name) and is_below(pid)]


def processor_seconds(pid: int) -> float:
    """What all threads of a process have used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def fetchml(
    data_dir: Path,
    *,
    launcher: str = "process",
    docker_host: str = "",
    program: Sequence[str] = (sys.executable, "-m", "fetchml"),
    **settings: str,
) -> Iterator[Server]:
    """The real program. Everything is on that a user has on; only the rate limit is set so high
    that it refuses nothing."""
    command = [*program, "serve", "--launcher", launcher]
    command += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data-dir", str(data_dir)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("FETCHML_")}
    own |= {"FETCHML_ADMIN_KEY": KEY, "FETCHML_RATE_LIMIT_PER_SECOND": "1000000"}
    own |= {"FETCHML_RATE_LIMIT_BURST": "1000000"}
    own |= {"DOCKER_HOST": docker_host} if docker_host else {}
    own |= {f"FETCHML_{name.upper()}": value for name, value in settings.items()}
    with _running(command, own, log=data_dir.with_suffix(".log")) as server:
        yield server


@contextmanager
def bare(module: str) -> Iterator[Server]:
    """A server of this folder that does as little as its library allows."""
    with _running([sys.executable, "-m", f"benchmarks.{module}"], dict(os.environ)) as server:
        yield server


@contextmanager
def _running(
    command: Sequence[str], environment: dict[str, str], log: Path | None = None
) -> Iterator[Server]:
    began = time.perf_counter()
    with (
        (log or Path(os.devnull)).open("a") as stderr,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            if not words:
                said = log.read_text() if log else ""
                raise RuntimeError(f"{' '.join(command)} did not start: {said[-2000:]}")
            ready = dict(word.split("=") for word in words[1:])
            took = time.perf_counter() - began
            yield Server(process, ready.get("http", ""), ready.get("grpc", ""), took)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)


@contextmanager
def elsewhere() -> Iterator[Callable[[Callable[P, T]], Callable[P, T]]]:
    """Gives a function that makes others run in a process of their own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

        def moved(function: Callable[P, T]) -> Callable[P, T]:
            def call(*args: P.args, **kwargs: P.kwargs) -> T:
                return pool.submit(function, *args, **kwargs).result()

            return call

        yield moved


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """On the disk that the project lies on: /tmp may be memory, where a sync costs nothing."""
    here = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=here) as folder:
        try:
            yield Path(folder)
        finally:
            kill_tasks(Path(folder).glob("**/tasks/*"))
