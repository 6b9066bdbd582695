"""The end of an attempt in a container, and of its last process.

What it means for the task: `attempts/attempt_end.py` adds the shim's record, and `core/verdict.py`
decides the reason."""

from collections.abc import Callable
from contextlib import ExitStack
from signal import SIGKILL
from types import TracebackType
from typing import Self

from fetchml.adapters.docker.container_requests import Container, never_started
from fetchml.adapters.shim_command import NO_ROOM_TO_START, VOLUME_REPLACED
from fetchml.core.model import AttemptEnd
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import AttemptExit
from fetchml.shim import NO_ROOM, WRONG_VOLUME
from fetchml.system import processes

_EXIT_KILLED = 128 + SIGKILL
_EXIT_LOST = 255
"""The engine's exit code of a container that ended while the engine was down."""


class FirstProcess:
    """A container's first process, which the kernel ends only after all others in it.

    If the engine runs on this host, this detects the end without the engine, and exactly: an engine
    may report a container as ended while its processes still live for a moment.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._stack = ExitStack()
        self._running: set[int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def learn(self, pid: int, container_id: str) -> None:
        """Follow this process, if it is one of this host and in the container."""
        if self._running is not None:
            return

        def is_right(pid: int) -> bool:
            return processes.in_cgroup(pid, container_id)

        pidfds = self._stack.enter_context(processes.opened([pid], is_right))
        if pidfds:
            self._running = self._stack.enter_context(processes.watched(pidfds, self._on_end))

    @property
    def runs(self) -> bool:
        """Whether it is known to run."""
        return bool(self._running)

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._running is not None and not self._running


def was_killed(end: AttemptEnd) -> bool:
    """Return whether SIGKILL ended the command or a shell's child: perhaps out of memory."""
    return end.signal == SIGKILL or end.code == _EXIT_KILLED


def exit_of(
    folder: AttemptFolder, container: Container | None, *, engine_restarted: bool
) -> AttemptExit:
    """Return how an attempt ended whose container the engine no longer runs."""
    end, claim = folder.end(), folder.claim()
    code = container["State"]["ExitCode"] if container else None
    out_of_memory = bool(container and container["State"]["OOMKilled"])
    if end:
        # If the container ended while the engine was away, only the shim has recorded it.
        return AttemptExit(out_of_memory=(out_of_memory or end.out_of_memory) and was_killed(end))
    if claim is None:
        if container is None or never_started(container):
            return AttemptExit()
        if code == NO_ROOM:
            return NO_ROOM_TO_START
        if code == WRONG_VOLUME:
            return VOLUME_REPLACED
        return AttemptExit(lost=f"the container exited before the command started (exit {code})")
    if claim.revoked:
        return AttemptExit()
    if claim.boot_id not in ("", processes.boot_id()):
        return AttemptExit(lost="the machine was restarted while the task ran")
    if out_of_memory:
        return AttemptExit(out_of_memory=True, lost="the container ran out of memory")
    if engine_restarted or code == _EXIT_LOST:
        return AttemptExit(lost="the Docker engine was restarted while the task ran")
    if container is None:
        return AttemptExit(lost="the container was removed from outside while the task ran")
    return AttemptExit(
        lost=f"the container was killed from outside while the task ran (exit {code})"
    )
