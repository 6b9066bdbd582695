"""Use of trees of processes, as the kernel counts it in /proc.

A process that ends is counted on by the one that waits for it, so the sum over the living members
of a tree includes those that have ended. The memory is the sum of the resident sizes: pages that
several members share count for each of them.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fetchml.ports.launcher import ResourceUse
from fetchml.system import processes

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
_RECORD_BYTES = 4096
"""Longer than any of the files that are read."""
_MAX_MEMBERS = 4096
"""Processes of one tree that are counted."""


class Root(NamedTuple):
    """The first process of a tree."""

    pid: int
    starttime: int | None
    """Clock ticks after boot; `None` if the pid can't have been reused."""


class _Member(NamedTuple):
    parent: int
    starttime: int
    ticks: int
    """Processor time, with that of ended children."""
    pages: int


def usage_of(roots: Sequence[Root | None]) -> list[ResourceUse | None]:
    """Return the usage of each process tree; `None` if it no longer exists."""
    if not any(roots):
        return [None] * len(roots)
    members = dict(_all_members())
    children = defaultdict[int, list[int]](list)
    for pid, member in members.items():
        children[member.parent].append(pid)
    return [None if root is None else _use(root, members, children) for root in roots]


def _use(
    root: Root, members: dict[int, _Member], children: dict[int, list[int]]
) -> ResourceUse | None:
    first = members.get(root.pid)
    if first is None or root.starttime not in (None, first.starttime):
        return None
    ticks = pages = read = written = 0
    waiting = [root.pid]
    for pid in waiting:
        ticks += members[pid].ticks
        pages += members[pid].pages
        more_read, more_written = _disk_bytes(pid)
        read += more_read
        written += more_written
        if len(waiting) < _MAX_MEMBERS:
            waiting += children.get(pid, ())
    return ResourceUse(
        cpu_ms=ticks * 1000 // _TICKS_PER_SECOND,
        memory_kb=pages * _PAGE_KB,
        read_kb=read >> 10,
        write_kb=written >> 10,
    )


def _all_members() -> Iterator[tuple[int, _Member]]:
    """Yield every visible process of the host."""
    for pid in processes.pids():
        # The name is second, in brackets, and may contain spaces and brackets.
        fields = _read(pid, "stat").rpartition(b")")[2].split()
        if len(fields) > 21:
            ticks = sum(map(int, fields[11:15]))
            yield pid, _Member(int(fields[1]), int(fields[19]), ticks, int(fields[21]))


def _disk_bytes(pid: int) -> tuple[int, int]:
    """Return the bytes that a process has read from disks and written to them."""
    counters = dict(line.split(b": ") for line in _read(pid, "io").splitlines())
    return int(counters.get(b"read_bytes", 0)), int(counters.get(b"write_bytes", 0))


def _read(pid: int, name: str) -> bytes:
    """Return a file of a process; empty if the process is gone or belongs to another user."""
    try:
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, _RECORD_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)
