"""Linux processes, told apart by start time and boot: a pid alone is used again and again."""

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
    """Names this boot of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def find(pid: int) -> Process | None:
    """The process that has this pid now; None: there is none, or only its zombie."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name comes second, in brackets, and may hold spaces and brackets itself.
    fields = text.rpartition(")")[2].split()
    state, parent, starttime = fields[0], int(fields[1]), int(fields[19])
    return None if state in "ZX" else Process(pid, parent, starttime)


def pids() -> Iterator[int]:
    """Every process of this machine that can be seen from here."""
    with os.scandir(_PROC) as entries:
        for entry in entries:
            if entry.name.isdecimal():
                yield int(entry.name)


def environment(pid: int) -> list[str]:
    """What the process was started with, `NAME=value`; empty when it is gone or not ours."""
    try:
        data = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return []
    return os.fsdecode(data).split("\0")


def in_cgroup(pid: int, name: str) -> bool:
    """Whether the path of one of the process's cgroups holds `name`."""
    return name in cgroups(pid)


def cgroups(pid: int) -> str:
    """The paths of the process's cgroups; empty when it is gone."""
    try:
        return (_PROC / str(pid) / "cgroup").read_text()
    except OSError:
        return ""


def owner(pid: int) -> int | None:
    """The user id that the process has; None when it is gone."""
    try:
        return (_PROC / str(pid)).stat().st_uid
    except OSError:
        return None


def name(pid: int) -> str:
    """The command's name, as the process itself may choose it, in printable characters; empty
    when it is gone."""
    try:
        text = (_PROC / str(pid) / "comm").read_text(errors="replace")
    except OSError:
        return ""
    return "".join(c if c.isprintable() else "?" for c in text.removesuffix("\n"))


@contextmanager
def opened(found: Iterable[int], is_right: Callable[[int], bool]) -> Iterator[list[int]]:
    """Descriptors of the right processes among those found."""
    pidfds = []
    try:
        for pid in filter(is_right, found):
            with suppress(ProcessLookupError):
                pidfds.append(os.pidfd_open(pid))
                # The pid may have gone to another process meanwhile; from here on it can't matter.
                if not is_right(pid):
                    os.close(pidfds.pop())
        yield pidfds
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


@contextmanager
def watched(pidfds: Iterable[int], on_end: Callable[[], None]) -> Iterator[set[int]]:
    """Give those that still run, a set that shrinks; `on_end` tells of each that ended."""
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


async def gone(pidfds: Iterable[int]) -> None:
    """Return when all have ended (a zombie has)."""
    ended = asyncio.Event()
    with watched(pidfds, ended.set) as running:
        while running:
            await ended.wait()
            ended.clear()


def send(pidfd: int, number: signal.Signals) -> None:
    """Fine also when the process is gone."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
