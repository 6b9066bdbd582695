"""Linux processes, identified by pid, start time and boot, because pids are reused."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class Process(NamedTuple):
    pid: int
    parent: int
    starttime: int
    """Clock ticks after boot."""


@cache
def boot_id() -> str:
    """Return the id of this boot of the host."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def find(pid: int) -> Process | None:
    """Return the process with this pid; `None` if it does not exist or is a zombie."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name is second, in brackets, and may contain spaces and brackets.
    fields = text.rpartition(")")[2].split()
    state, parent, starttime = fields[0], int(fields[1]), int(fields[19])
    return None if state in "ZX" else Process(pid, parent, starttime)


def pids() -> Iterator[int]:
    """Yield the ids of all visible processes of this host."""
    with os.scandir(_PROC) as entries:
        for entry in entries:
            if entry.name.isdecimal():
                yield int(entry.name)


def environment(pid: int) -> list[str]:
    """Return the initial environment as `NAME=value`; empty if the process is gone or
    unreadable."""
    try:
        data = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return []
    return os.fsdecode(data).split("\0")


def in_cgroup(pid: int, name: str) -> bool:
    """Return whether the path of one of the process's cgroups contains `name`."""
    return name in cgroups(pid)


def cgroups(pid: int) -> str:
    """Return the paths of the process's cgroups; empty if it is gone."""
    try:
        return (_PROC / str(pid) / "cgroup").read_text()
    except OSError:
        return ""


def owner(pid: int) -> int | None:
    """Return the process's user id; `None` if it is gone."""
    try:
        return (_PROC / str(pid)).stat().st_uid
    except OSError:
        return None


def name(pid: int) -> str:
    """Return the command's name, which the process may choose, in printable characters; empty if it
    is gone."""
    try:
        text = (_PROC / str(pid) / "comm").read_text(errors="replace")
    except OSError:
        return ""
    return "".join(c if c.isprintable() else "?" for c in text.removesuffix("\n"))


@contextmanager
def opened(pids: Iterable[int], is_right: Callable[[int], bool]) -> Iterator[list[int]]:
    """Yield descriptors of the processes among `pids` for which `is_right` is true."""
    pidfds = []
    try:
        for pid in filter(is_right, pids):
            with suppress(ProcessLookupError):
                pidfds.append(os.pidfd_open(pid))
                # The pid may have been reused meanwhile; the descriptor can't be.
                if not is_right(pid):
                    os.close(pidfds.pop())
        yield pidfds
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


@contextmanager
def watched(pidfds: Iterable[int], on_end: Callable[[], None]) -> Iterator[set[int]]:
    """Yield the set of those that still run, which shrinks; `on_end` is called for each end."""
    loop = asyncio.get_running_loop()
    running = set(pidfds)

    def ended(pidfd: int) -> None:
        loop.remove_reader(pidfd)
        running.discard(pidfd)
        on_end()

    for pidfd in list(running):
        loop.add_reader(pidfd, ended, pidfd)
    try:
        yield running
    finally:
        for pidfd in running:
            loop.remove_reader(pidfd)


async def wait_ended(pidfds: Iterable[int]) -> None:
    """Wait until all have ended; zombies count as ended."""
    ended = asyncio.Event()
    with watched(pidfds, ended.set) as running:
        while running:
            await ended.wait()
            ended.clear()


def send(pidfd: int, number: signal.Signals) -> None:
    """Send a signal, unless the process has ended."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
