"""The folder of one attempt, through which the server and the shim communicate.

shim/README.md has the protocol. Once the gate is open the task may replace every file in `run/` by
a link, a FIFO, a folder or something huge. So no method follows a link, blocks, or reads without a
bound, and a malformed record reads as absent.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from fetchml.core.model import AttemptEnd, Kept, RanWith
from fetchml.files import kept_outputs, log_files, untrusted
from fetchml.files.attempt_records import (
    LAST_MS,
    Claim,
    Progress,
    StartRecord,
    end_of,
    integer,
    write_limit,
)
from fetchml.files.disk_usage import measure
from fetchml.files.kept_outputs import NO_LIMITS, OmittedOutputs, OutputLimits
from fetchml.files.layout import (
    CONTROL,
    DATASETS,
    OPENED,
    OUTPUTS,
    RAN_WITH,
    RUN,
    TASK_INPUTS,
    VOLUMES,
    WORKSPACE,
)
from fetchml.files.log_files import Bounds, LogTimes
from fetchml.files.own_file import read_own, sync_folder
from fetchml.system import failpoints

_RECORD_BYTES = 4096
_RAN_WITH_BYTES = 256 * 1024
_START_BYTES = 1 << 20
"""Free space required before an attempt that found the disk full is prepared again."""
_PRIVATE = 0o700
T = TypeVar("T")

_USE = ("cpu_ms", "memory_kb", "read_kb", "write_kb")
_MOST_USE = 1 << 50
_GPUS = re.compile(r"[0-9]{1,4}(,[0-9]{1,4}){0,255}")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class CollectError(Exception):
    """The outputs could not be kept. The message is for the user."""


class FolderCall(Protocol):
    """Calls a method of the attempt's folder."""

    async def __call__(self, method: Callable[[], T], /) -> T: ...


async def call_inline(method: Callable[[], T], /) -> T:
    """In the event loop: a local disk answers faster than a thread."""
    return method()


class AttemptFolder:
    """One attempt's files. Every method blocks for disk accesses, but not longer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / RUN
        self.control = path / CONTROL
        """Files that the server changes while the attempt runs. The task can't write here, except
        under launchers that isolate nothing."""

    @cached_property
    def workspace(self) -> Path:
        return self.path / WORKSPACE

    @cached_property
    def outputs(self) -> Path:
        return self.path / OUTPUTS

    @cached_property
    def workspace_draft(self) -> Path:
        return self.path / "workspace.new"  # Renamed once it is complete.

    @property
    def _claim_draft(self) -> Path:
        """The server's claim before it is in its place. A server that is killed there leaves it,
        and the attempt may go on."""
        return self.path / "revoked"

    def create(self, uid: int | None, gid: int | None) -> None:
        """Create the folder for a shim of this user. May be repeated until the gate opens.

        `None` is the user that the image defines: the three folders are open to every user then,
        inside the attempt's folder, which only the server may enter. Raises OSError.
        """
        self._create_control()
        mode = 0o777 if uid is None else _PRIVATE
        is_own = (uid, gid) == (os.geteuid(), os.getegid())
        for folder in (self.run, self.workspace, self.outputs):
            with suppress(FileExistsError):
                folder.mkdir(_PRIVATE)
                if is_own:
                    continue  # Each system call lets other threads in.
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _hand_over(fd, uid, gid, mode)
            finally:
                os.close(fd)
        with suppress(FileExistsError):
            os.mkfifo(self.run / "gate", 0o600)
            if is_own:
                return
        fd = os.open(self.run / "gate", os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            _hand_over(fd, uid, gid, mode & 0o666)
        finally:
            os.close(fd)

    def _create_control(self) -> None:
        """Create `control/`, but never beside the `run/` of an attempt that an older release
        prepared: its shim does not look there."""
        self.path.mkdir(_PRIVATE, parents=True, exist_ok=True)
        if self.run.exists():
            return
        with suppress(FileExistsError):
            self.control.mkdir(_PRIVATE)

    def takes_limits(self) -> bool:
        """Return whether the shim learns of a changed time limit, or will once there is one."""
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(self.control.lstat().st_mode):
                return True
        return not self.run.exists()

    def keeps_first_limit(self) -> bool:
        """Return whether a command of this attempt may run with the limit that it was prepared
        with, whatever is written: its shim is of an older release. A revoked attempt runs none."""
        if self.takes_limits():
            return False
        claim = self.claim()
        return claim is None or not claim.revoked

    def change_limit(self, timeout_ms: int) -> None:
        """Let the shim stop the command so long after its start; 0: never. Raises OSError."""
        if not self.takes_limits():
            return
        self._create_control()
        write_limit(self.control, timeout_ms)

    def owner(self) -> tuple[int, int] | None:
        """The uid and gid that the attempt's folders were handed over to. `None` if they were not
        yet, or are open to every user."""
        for folder in (self.run, self.workspace):
            with suppress(FileNotFoundError):
                status = folder.lstat()
                if status.st_uid != os.geteuid():
                    return status.st_uid, status.st_gid
        # A server without capabilities hands them over to its own uid, and makes the gate then.
        with suppress(FileNotFoundError):
            gate = (self.run / "gate").lstat()
            if stat.S_IMODE(gate.st_mode) == _PRIVATE & 0o666:
                return gate.st_uid, gate.st_gid
        return None

    def open_gate(self) -> None:
        """Let the waiting shims continue. May be repeated. Raises OSError if the folder is
        missing."""
        # Not `touch`: the file keeps the time of the first opening.
        os.close(os.open(self.path / OPENED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        self._release_shims()

    def record_ran_with(self, ran_with: RanWith) -> None:
        """Keep what the attempt is prepared with, for a server that is started before the attempt
        is. On a full disk nothing is kept."""
        with suppress(OSError):
            (self.path / RAN_WITH).write_bytes(msgspec.json.encode(ran_with))

    def ran_with(self) -> RanWith | None:
        """Return what the attempt was prepared with; `None` if an older release prepared it. Under
        launchers that isolate nothing the task may have forged it."""
        try:
            return msgspec.json.decode(
                read_own(self.path / RAN_WITH, _RAN_WITH_BYTES), type=RanWith
            )
        except (OSError, msgspec.MsgspecError):
            return None

    def gate_was_opened(self) -> bool:
        """Return whether the command may have started. The task can't change this mark: only the
        server may write where it is."""
        return (self.path / OPENED).exists()

    def progress(self) -> Progress:
        """Return the steps that the attempt has reached, in one look."""
        if not self.path.exists():
            return Progress(is_open=False, is_revoked=False, owner=None)
        claim = self.claim()
        return Progress(self.gate_was_opened(), claim is not None and claim.revoked, self.owner())

    def opened_at(self) -> int | None:
        """Return when the gate was first opened, in milliseconds since the epoch (UTC); `None` if
        it was not."""
        try:
            return (self.path / OPENED).stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            return None

    def _release_shims(self) -> None:
        with self._run_fd() as run:
            with suppress(FileExistsError):
                os.close(os.open("open", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=run))
            # ENXIO: no shim waits yet, and it will find `open`. Anything else that a task put in
            # the gate's position no longer matters.
            with suppress(OSError):
                gate = os.open("gate", os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=run)
                try:
                    if stat.S_ISFIFO(os.fstat(gate).st_mode):
                        os.write(gate, b"1")
                finally:
                    os.close(gate)

    def revoke(self) -> bool:
        """Claim the attempt for the server, so that it never starts, and open the gate.

        Returns false if a shim has claimed it: its command may have started. Raises OSError.
        """
        self._create_control()  # An attempt without it would pass for one of an older release.
        self.run.mkdir(_PRIVATE, parents=True, exist_ok=True)
        draft = self._claim_draft
        draft.write_text("revoked=1\n")
        failpoints.reach("claim_drafted")
        # A link appears with its whole content, and never replaces another claim.
        with suppress(FileExistsError):
            os.link(draft, self.run / "claim")
        draft.unlink()
        claim = self.claim()
        if claim is None or not claim.revoked:
            return False
        self._release_shims()
        return True

    def discard(self) -> None:
        """Remove the files of an attempt that never starts, except its claim and its log. May be
        repeated. Raises OSError."""
        untrusted.remove(self.outputs)
        self._remove_unkept()

    def _remove_unkept(self) -> None:
        """Remove what no attempt keeps, the links of launchers without containers included: a
        server that is killed after the attempt's end was reported does not come back to it."""
        for name in (WORKSPACE, CONTROL, DATASETS, TASK_INPUTS, VOLUMES):
            untrusted.remove(self.path / name)
        untrusted.remove(self.workspace_draft)
        self._claim_draft.unlink(missing_ok=True)
        (self.path / RAN_WITH).unlink(missing_ok=True)

    def has_room(self) -> bool:
        """Return whether the disk has space for the records of a start. Raises OSError."""
        disk = os.statvfs(self.path)
        # File systems without a fixed number of files report 0 of 0.
        has_files = disk.f_files == 0 or disk.f_favail > 0
        return has_files and disk.f_bavail * disk.f_frsize >= _START_BYTES

    def claim(self) -> Claim | None:
        """Return the claim; `None` if there is none, so the command has not started."""
        if not os.path.lexists(self.run / "claim"):
            return None
        record = self._record("claim")
        try:
            if integer(record, "revoked", 0, 1, default=0):
                return Claim(revoked=True)
            return Claim(
                pid=integer(record, "pid", 1, 1 << 30),
                starttime=integer(record, "starttime", 0, 1 << 62),
                boot_id=record.get("boot_id", ""),
            )
        except ValueError:
            return Claim()

    def started(self) -> StartRecord | None:
        """Return the record of the start; `None` if there is none.

        The task may have forged `at`: see attempts/attempt_end.py.
        """
        record = self._record("started")
        try:
            return StartRecord(
                at=integer(record, "at_ms", 0, LAST_MS), pid=integer(record, "pid", 1, 1 << 30)
            )
        except ValueError:
            return None

    def node(self) -> tuple[str | None, tuple[str, ...]]:
        """Return the name of the cluster's node that the attempt runs on, `None` if there is none,
        and the GPUs that it has there, as `NODE:NUMBER`. The task may have forged both."""
        record = self._record("node")
        name, numbers = record.get("node", ""), record.get("gpus", "")
        if not _NODE.fullmatch(name):
            return None, ()
        indexes = numbers.split(",") if _GPUS.fullmatch(numbers) else ()
        return name, tuple(dict.fromkeys(f"{name}:{int(number)}" for number in indexes))

    def usage(self) -> dict[str, int] | None:
        """Return what the shim recorded of its processes' use. The task may have forged it."""
        record = self._record("usage")
        try:
            numbers = {name: integer(record, name, 0, _MOST_USE) for name in _USE}
            return numbers | {"at_ms": integer(record, "at_ms", 0, LAST_MS)}
        except ValueError:
            return None

    def end(self) -> AttemptEnd | None:
        """Return the end that the shim recorded; `None` if there is none.

        A task can forge this file while it runs: it is valid only when no process of the task is
        left, and its times only after attempts/attempt_end.py has clamped them.
        """
        return end_of(self._record("exit"))

    def log_end(self) -> int:
        """Return the number of bytes that the command has written."""
        return self.log_bounds()[1]

    def log_bounds(self) -> tuple[int, int]:
        """Return the offsets of the log's first kept byte and of its end."""
        try:
            with self._run_fd() as run:
                return log_files.bounds(run)
        except OSError:
            return 0, 0

    def log_times(self, now: int, end: int) -> LogTimes:
        """Return when the bytes before `end` were written, as far as that is possible. `now`: in
        milliseconds since the epoch (UTC)."""
        bounds = Bounds(self.opened_at() or 0, now, end)
        try:
            with self._run_fd() as run:
                return LogTimes.read(run, bounds)
        except OSError:
            return LogTimes(b"", bounds)

    def read_log(self, offset: int, limit: int) -> tuple[int, bytes]:
        """Return the offset and at most `limit` bytes of the log; no bytes if there are none yet.

        The offset is higher than requested if the bytes there are no longer kept.
        """
        try:
            with self._run_fd() as run:
                return log_files.read(run, offset, limit)
        except OSError:
            return offset, b""

    def tail(self, limit: int = 65536) -> bytes:
        """Return the log's last bytes."""
        return self.read_log(max(0, self.log_end() - limit), limit)[1]

    def collect(self, outputs: Path, limits: OutputLimits = NO_LIMITS) -> OmittedOutputs:
        """Replace `outputs` durably by what the task wrote. Returns what exceeded the limits.

        Call it when no process of the attempt is left; it may be repeated after a crash at any
        point. Only the server can read what is kept; links are kept unfollowed, FIFOs and sockets
        are removed. `workspace/` is removed. Raises CollectError.
        """
        replaced = self.path / "outputs.replaced"
        left_out = OmittedOutputs()
        try:
            if os.path.lexists(self.outputs):
                left_out = self._move_outputs(outputs, replaced, limits)
            untrusted.remove(replaced)
            self._remove_unkept()
        except untrusted.TooDeepError as error:
            untrusted.remove(self.workspace)
            raise CollectError(f"storing the outputs failed: {error}") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise CollectError(f"storing the outputs failed: {reason}") from error
        return left_out

    def kept(self, outputs: Path, checkpoint: Path | None = None) -> Kept:
        """Measure what is kept of the attempt, with the task's checkpoint. After `collect`;
        blocks."""
        moved, logs = measure(outputs), measure(self.run)
        if checkpoint is not None:
            moved = moved.plus(measure(checkpoint))
        # Outputs that could not be collected are still here.
        stayed = measure(self.outputs)
        return Kept(
            outputs_bytes=moved.bytes + stayed.bytes,
            outputs_files=moved.files + stayed.files,
            logs_bytes=logs.bytes,
            logs_files=logs.files,
        )

    def _move_outputs(self, outputs: Path, replaced: Path, limits: OutputLimits) -> OmittedOutputs:
        if not stat.S_ISDIR(self.outputs.lstat().st_mode):
            self.outputs.unlink()
            self.outputs.mkdir(_PRIVATE)
        left_out = kept_outputs.keep(self.outputs, limits)
        is_new = not os.path.lexists(outputs) and not os.path.lexists(replaced)
        if os.path.lexists(outputs):
            untrusted.remove(replaced)
            outputs.rename(replaced)
        self.outputs.rename(outputs)
        # A new folder without files has nothing to lose: if it is absent, that means the same.
        if not is_new or untrusted.first_names(outputs, 1):
            sync_folder(outputs.parent)
            sync_folder(self.path)
        return left_out

    def _record(self, name: str) -> dict[str, str]:
        """Return the `key=value` lines of a small file; empty if it does not exist."""
        try:
            with self._run_fd() as run:
                data = untrusted.read_regular(run, name, 0, _RECORD_BYTES)
        except OSError:
            return {}
        lines = data.decode(errors="replace").split("\n")
        return {key: value for key, _, value in (line.partition("=") for line in lines)}

    @contextmanager
    def _run_fd(self) -> Iterator[int]:
        fd = os.open(self.run, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            yield fd
        finally:
            os.close(fd)


def _hand_over(fd: int, uid: int | None, gid: int | None, mode: int) -> None:
    if uid is not None and gid is not None:
        os.fchown(fd, uid, gid)
    os.fchmod(fd, mode)
