"""A real server process, and the real command run against it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn
from unittest import mock

from fetchml.cli.main import LINUX_ONLY, main
from fetchml.files.layout import ADMIN_KEY
from testbed.envoy import free_ports
from tests.support import front, preloaded
from tests.support.commands import ran
from tests.support.preloaded import FETCHML, PROGRAM, Program
from tests.support.preloaded_process import read_before
from tests.support.waiting import SECONDS

__all__ = [
    "FETCHML",
    "PROGRAM",
    "SECONDS",
    "Ran",
    "Reached",
    "Server",
    "environment",
    "run",
    "serving",
]


class Reached:
    """A server as clients on this machine reach it."""

    data_dir: Path
    http: str
    """Where clients connect, HOST:PORT."""
    grpc: str

    @property
    def variables(self) -> dict[str, str]:
        """What a client on this machine has in its environment."""
        return {"FETCHML_SERVER": self.grpc, "FETCHML_DATA_DIR": str(self.data_dir)}

    @property
    def admin_key(self) -> str:
        return (self.data_dir / ADMIN_KEY).read_text().strip()

    def run(self, *arguments: str, **variables: str) -> "Ran":
        return run(*arguments, **{**self.variables, **variables})

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").succeeded())


class Server(Reached):
    """`fetchml serve` on ports of its own choice, or behind the test's proxy."""

    def __init__(
        self,
        data_dir: Path,
        *flags: str,
        launcher: str = "process",
        program: Sequence[str] = FETCHML,
        **variables: str,
    ) -> None:
        self.data_dir = data_dir
        self._launcher = launcher
        self._program = program
        self._flags = flags
        self._variables = variables
        self._log = data_dir.parent / f"{data_dir.name}.log"
        self._ports = (front.http_port(), front.grpc_port())

    def keep_ports(self) -> "Server":
        """Let every start listen at the same ports. They are none that the system gives away by
        itself, for it could give them to another connection between two starts. Behind a proxy
        they are the ports that it knows."""
        if 0 in self._ports:
            http, grpc = free_ports(2)
            self._ports = (http, grpc)
        return self

    def start(self) -> "Server":
        """Returns when it is ready."""
        flags = ["--data-dir", str(self.data_dir), "--launcher", self._launcher]
        http, grpc = (f"127.0.0.1:{port}" for port in self._ports)
        flags += ["--http", http, "--grpc", grpc, *self._flags]
        with self._log.open("ab") as log:
            self.process, line = preloaded.serve(
                [*self._program, "serve", *flags], environment(**self._variables), log
            )
        assert line.startswith("ready "), self.log
        self.http, self.grpc = (front.seen(part.partition("=")[2]) for part in line.split()[1:])
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(number)
        return self.wait()

    @property
    def pid(self) -> int:
        return serving(self.process.pid)

    def wait(self) -> int:
        return self.process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def begin(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """A command that the test does not wait for."""
        return subprocess.Popen(
            [*preloaded.words(), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**{**self.variables, **variables}),
            text=True,
        )


class Ran:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def succeeded(self) -> str:
        """What it printed, without the last line break."""
        assert self.code == 0, self.err
        return self.out.removesuffix("\n")

    def failed(self, code: int) -> str:
        """What it reported."""
        assert self.code == code, self.err
        return self.err


def serving(pid: int) -> int:
    """Of a started program the process that serves: the executable's is a child."""
    if not PROGRAM:
        return pid
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def environment(**variables: str) -> dict[str, str]:
    """This one, without the settings and profiles of whoever runs the tests."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FETCHML_")}
    return {**own, "NO_COLOR": "1", "XDG_CONFIG_HOME": "/nonexistent", **variables}


def run(*arguments: str, ulimit: str | None = None, **variables: str) -> Ran:
    """`ulimit`: how the shell is to limit the program, such as `-n 20`."""
    command, given = [*FETCHML, *arguments], environment(**variables)
    if ulimit is not None:  # To pipes, which have no limit.
        limited = ["sh", "-c", f'ulimit {ulimit}; exec "$@"', "sh", *command]
        done = ran(limited, env=given)
        return Ran(done.returncode, done.stdout, done.stderr)
    if _may_be_a_call(arguments, given):
        return _called(arguments, given)
    with TemporaryFile("r+") as out, TemporaryFile("r+") as err:
        program = Program(command, given, stdout=out.fileno(), stderr=err.fileno())
        try:
            code = program.wait()
        finally:
            program.kill()
        out.seek(0)
        err.seek(0)
        return Ran(code, out.read(), err.read())


ONLY_PROCESSES = LINUX_ONLY | {"completion", "exec", "jupyter", "port-forward"}
"""Commands that handle signals, replace the process, or read variables before they are called."""


def _may_be_a_call(arguments: Sequence[str], variables: Mapping[str, str]) -> bool:
    """Return whether a call in this process shows the same as a process of its own: a fork, and the
    memory that it copies, takes five times as long."""
    if PROGRAM or threading.current_thread() is not threading.main_thread():
        return False
    if ONLY_PROCESSES & {*arguments} or "_FETCHML_COMPLETE" in variables:
        return False
    return read_before(variables) == read_before(os.environ) and not _in_event_loop()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _called(arguments: Sequence[str], variables: Mapping[str, str]) -> Ran:
    with (
        TemporaryFile("w+") as out,
        TemporaryFile("w+", errors="backslashreplace") as err,
        Path(os.devnull).open() as nothing,
        mock.patch.dict(os.environ, variables, clear=True),
        mock.patch.multiple(
            sys, argv=["fetchml", *arguments], stdin=nothing, stdout=out, stderr=err
        ),
        _time_limit(),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except Exception:  # noqa: BLE001 - as an interpreter ends
            traceback.print_exc()
            code = 1
        shown = []
        for stream in (out, err):
            stream.flush()
            stream.seek(0)
            shown.append(stream.read())
    return Ran(code, *shown)


@contextmanager
def _time_limit() -> Iterator[None]:
    def over(*_: object) -> NoReturn:
        raise TimeoutError(f"the command takes longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
