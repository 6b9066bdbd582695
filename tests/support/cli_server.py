"""A real server process, and the real command run against it."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from fetchml.files.layout import ADMIN_KEY
from testbed.envoy import free_ports
from tests.support import front, preloaded
from tests.support.commands import ran
from tests.support.preloaded import FETCHML, PROGRAM, Program
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
            [*FETCHML, *arguments],
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
    with TemporaryFile("r+") as out, TemporaryFile("r+") as err:
        program = Program(command, given, stdout=out.fileno(), stderr=err.fileno())
        try:
            code = program.wait()
        finally:
            program.kill()
        out.seek(0)
        err.seek(0)
        return Ran(code, out.read(), err.read())
