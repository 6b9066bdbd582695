"""Starts `fetchml` as a fork of a process that has imported it.

Of a server's start, and of a command, nine tenths are imports, and the tests do both some thousand
times. A fork is the same program in a process of its own, with the arguments, environment, folder
and streams that it is given. It can't be given what Python or a library reads before FetchML's
first line: with such a variable, a new interpreter starts. So does the executable, and whatever a
test starts by itself.
"""

import asyncio
import atexit
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from tests.support import preloaded_process
from tests.support.preloaded_process import NUMBER_BYTES
from tests.support.waiting import SECONDS

PROGRAM = os.environ.get("FETCHML_PROGRAM")
"""The executable that is tested; `None`: this environment's own."""
FETCHML = [PROGRAM] if PROGRAM else [sys.executable, "-m", "fetchml"]


class Program:
    """A program that a test has started, with the part of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        *,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
    ) -> None:
        """`variables`: its whole environment."""
        self.returncode: int | None = None
        """The exit status, negative for a signal; `None` while it is not known to have ended."""
        self._child: subprocess.Popen[bytes] | None = None
        """`None` if it is a fork."""
        own, arguments = command[: len(FETCHML)], command[len(FETCHML) :]
        self.pid = 0
        if not PROGRAM and list(own) == FETCHML:
            self.pid = _source().fork(arguments, variables, stdout, stderr)
        if not self.pid:
            self._child = subprocess.Popen(command, env=variables, stdout=stdout, stderr=stderr)
            self.pid = self._child.pid
        self._over = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._over], [], [], 0)[0]:
            self._reap()
        return self.returncode

    def wait(self, timeout: float = SECONDS) -> int:
        if self.returncode is None:
            if not select.select([self._over], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            self._reap()
        assert self.returncode is not None
        return self.returncode

    async def ended(self) -> int:
        """As `wait`, in an event loop and without a limit."""
        if self.poll() is None:
            loop, over = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(self._over, over.set)
            try:
                await over.wait()
            finally:
                loop.remove_reader(self._over)
        return self.wait()

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _reap(self) -> None:
        self.returncode = _source().status(self.pid) if self._child is None else self._child.wait()
        os.close(self._over)


def serve(
    command: Sequence[str], variables: Mapping[str, str], stderr: IO[bytes]
) -> tuple[Program, str]:
    """Start a server. Returns the line that it prints when it is ready; empty if there is none."""
    ours, theirs = os.pipe()
    with open(ours, "rb") as lines:  # noqa: PTH123 - a descriptor
        try:
            program = Program(command, variables, stdout=theirs, stderr=stderr)
        finally:
            os.close(theirs)
        readable, _, _ = select.select([lines], [], [], SECONDS)
        return program, lines.readline().decode() if readable else ""


def script() -> str:
    """A shell script that is `fetchml`, for shells that a test starts."""
    return f'#!/bin/sh\nexec {shlex.join(words())} "$@"\n'


def words() -> list[str]:
    """The beginning of a command line that is `fetchml`. SIGKILL ends it and not the fork."""
    if PROGRAM:
        return FETCHML
    client = Path(__file__).with_name("preloaded_client.py")
    return [sys.executable, "-I", "-S", str(client), _source().address]


class _Source:
    """The process that forks; one for each process of the tests."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self._folder = TemporaryDirectory(prefix="preloaded")
        self.address = f"{self._folder.name}/socket"
        """Where `preloaded_client.py` connects."""
        with theirs, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen()
            descriptors = [theirs.fileno(), listener.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, "-P", preloaded_process.__file__, *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=descriptors,
            )
        atexit.register(self._end)

    def fork(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
    ) -> int:
        """Its pid; 0 if a program with this environment can't be a fork."""
        request = {
            "arguments": [*arguments],
            "environment": {**variables},
            "folder": str(Path.cwd()),
        }
        streams = [each if isinstance(each, int) else each.fileno() for each in (stdout, stderr)]
        return self._ask(request, [0, *streams])

    def status(self, pid: int) -> int:
        """The exit status of a fork that has ended."""
        return os.waitstatus_to_exitcode(self._ask({"ended": pid}))

    def _ask(self, request: Mapping[str, object], descriptors: Sequence[int] = ()) -> int:
        text = json.dumps(request).encode()
        with self._lock:
            socket.send_fds(self._control, [len(text).to_bytes(NUMBER_BYTES)], descriptors)
            self._control.sendall(text)
            answer = self._control.recv(NUMBER_BYTES)
        assert answer, "the process that forks has ended"
        return int.from_bytes(answer)

    def _end(self) -> None:
        self._control.close()
        self._process.wait()
        self._folder.cleanup()


@cache
def _source() -> _Source:
    return _Source()
