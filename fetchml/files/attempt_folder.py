"""The folder of one attempt: how the server and the shim speak. shim/README.md has the protocol.

Once the gate is open the task may replace every file in `run/` by a link, a FIFO, a folder or
something huge. So nothing here follows a link, blocks, or reads without a bound, and what makes no
sense reads as absent.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from fetchml.core.model import AttemptEnd, Kept
from fetchml.files import kept_outputs, log_segments, untrusted
from fetchml.files.kept_outputs import NO_LIMITS, LeftOut, OutputLimits
from fetchml.files.layout import OPENED, OUTPUTS, RUN, WORKSPACE
from fetchml.files.own_file import sync_folder
from fetchml.files.tree_size import measure

_RECORD_BYTES = 4096
_START_BYTES = 1 << 20
"""Free on the disk before an attempt that found it full is made ready again."""
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999: later times can't be written as RFC 3339."""
_MAX_ERROR = 500
_PRIVATE = 0o700


class Claim(msgspec.Struct, frozen=True):
    """Who owns the attempt. `pid` is in the shim's own pid namespace."""

    revoked: bool = False
    """The server took it: the command never starts."""
    pid: int | None = None
    """None: revoked, not written yet, or damaged."""
    starttime: int = 0
    """Clock ticks after boot, field 22 of /proc/PID/stat."""
    boot_id: str = ""


class StartRecord(msgspec.Struct, frozen=True):
    at: int
    pid: int
    """The command's, in the shim's pid namespace."""


class CollectError(Exception):
    """The outputs could not be kept; the message is for the user."""


class AttemptFolder:
    """One attempt's files. Every method may block for a disk access, none for longer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / RUN
        self.workspace = path / WORKSPACE
        self.outputs = path / OUTPUTS
        self.workspace_draft = path / "workspace.new"
        """Where a workspace is filled before it is put in place, whole."""

    def create(self, uid: int | None, gid: int | None) -> None:
        """Make the folder ready for a shim of this user; again is fine until the gate opens.

        `None`: whoever the image names. The three folders are then open to every user, behind the
        attempt's own folder, which only the server may enter. Raises OSError.
        """
        self.path.mkdir(_PRIVATE, parents=True, exist_ok=True)
        mode = 0o777 if uid is None else _PRIVATE
        for folder in (self.run, self.workspace, self.outputs):
            with suppress(FileExistsError):
                folder.mkdir(_PRIVATE)
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _hand_over(fd, uid, gid, mode)
            finally:
                os.close(fd)
        with suppress(FileExistsError):
            os.mkfifo(self.run / "gate", 0o600)
        fd = os.open(self.run / "gate", os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            _hand_over(fd, uid, gid, mode & 0o666)
        finally:
            os.close(fd)

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
        """Let the waiting shims go on; again is fine. Raises OSError when the folder is missing."""
        # Not `touch`: the file's time stays that of the first opening.
        os.close(os.open(self.path / OPENED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        self._let_shims_go()

    def gate_was_opened(self) -> bool:
        """From then on the command may have started, whatever the task did to its run folder:
        this mark lies where only the server may write."""
        return (self.path / OPENED).exists()

    def opened_at(self) -> int | None:
        """When the gate was first opened, in milliseconds since the epoch (UTC); `None` if it was
        not."""
        try:
            return (self.path / OPENED).stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            return None

    def _let_shims_go(self) -> None:
        with self._run_fd() as run:
            with suppress(FileExistsError):
                os.close(os.open("open", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=run))
            # ENXIO: no shim waits yet, it will find `open`. Whatever else a task may have put in
            # the gate's place concerns nobody any more.
            with suppress(OSError):
                gate = os.open("gate", os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=run)
                try:
                    if stat.S_ISFIFO(os.fstat(gate).st_mode):
                        os.write(gate, b"1")
                finally:
                    os.close(gate)

    def revoke(self) -> bool:
        """Claim the attempt for the server, so that it never starts, and open the gate.

        False: it was claimed by a shim, so its command may have started. Raises OSError.
        """
        self.run.mkdir(_PRIVATE, parents=True, exist_ok=True)
        draft = self.path / "revoked"
        draft.write_text("revoked=1\n")
        # A link appears with its content, whole, or not at all, and never over another claim.
        with suppress(FileExistsError):
            os.link(draft, self.run / "claim")
        draft.unlink()
        claim = self.claim()
        if claim is None or not claim.revoked:
            return False
        self._let_shims_go()
        return True

    def discard(self) -> None:
        """Remove the files of an attempt that never starts; its claim and its log stay. Again is
        fine. Raises OSError."""
        for folder in (self.workspace, self.workspace_draft, self.outputs):
            untrusted.remove(folder)

    def has_room(self) -> bool:
        """Whether the disk has room for the records of a start. Raises OSError."""
        disk = os.statvfs(self.path)
        # Some file systems have no fixed number of files: they report 0 of 0.
        has_files = disk.f_files == 0 or disk.f_favail > 0
        return has_files and disk.f_bavail * disk.f_frsize >= _START_BYTES

    def claim(self) -> Claim | None:
        """None: nobody owns the attempt, so its command has not started."""
        if not os.path.lexists(self.run / "claim"):
            return None
        record = self._record("claim")
        try:
            if _integer(record, "revoked", 0, 1, default=0):
                return Claim(revoked=True)
            return Claim(
                pid=_integer(record, "pid", 1, 1 << 30),
                starttime=_integer(record, "starttime", 0, 1 << 62),
                boot_id=record.get("boot_id", ""),
            )
        except ValueError:
            return Claim()

    def started(self) -> StartRecord | None:
        """None: the command has not started, as far as the shim has told.

        `at` may be forged by the task: see attempt_times.py.
        """
        record = self._record("started")
        try:
            return StartRecord(
                at=_integer(record, "at_ms", 0, _LAST_MS), pid=_integer(record, "pid", 1, 1 << 30)
            )
        except ValueError:
            return None

    def end(self) -> AttemptEnd | None:
        """The true end, once the shim has written it.

        A task can forge this file while it runs: it counts when no process of the task is left, and
        its times are possible ones only after `attempt_times` has looked at them.
        """
        record = self._record("exit")
        try:
            started = _integer(record, "started_ms", 0, _LAST_MS, default=0)
            ended = _integer(record, "at_ms", 0, _LAST_MS)
            code = _integer(record, "code", 0, 255) if "code" in record else None
            signal = _integer(record, "signal", 1, 64) if "signal" in record else None
            timed_out = bool(_integer(record, "timed_out", 0, 1, default=0))
            stopped = bool(_integer(record, "stopped", 0, 1, default=0))
            out_of_memory = bool(_integer(record, "out_of_memory", 0, 1, default=0))
        except ValueError:
            return None
        if (code is None) == (signal is None):
            return None
        error = "".join(c if c.isprintable() else "?" for c in record.get("error", ""))
        return AttemptEnd(
            at=max(started, ended),
            started_at=started or None,
            code=code,
            signal=signal,
            timed_out=timed_out,
            stopped=stopped,
            out_of_memory=out_of_memory,
            start_error=error[:_MAX_ERROR] or None,
        )

    def log_start(self) -> int:
        """Offset of the oldest byte of the log that is kept."""
        return self._log_bounds()[0]

    def log_end(self) -> int:
        """How many bytes the command has written in all."""
        return self._log_bounds()[1]

    def read_log(self, offset: int, limit: int) -> tuple[int, bytes]:
        """At most `limit` bytes of the log, and their true offset.

        That is `offset`, or later when the bytes there are no longer kept. Empty: none yet.
        """
        try:
            with self._run_fd() as run:
                return log_segments.read(run, offset, limit)
        except OSError:
            return offset, b""

    def tail(self, limit: int = 65536) -> bytes:
        """The log's last bytes."""
        return self.read_log(max(0, self.log_end() - limit), limit)[1]

    def collect(self, outputs: Path, limits: OutputLimits = NO_LIMITS) -> LeftOut:
        """Move what the task wrote to `outputs`, in place of what is there, durably; drop the rest.
        Returns what was beyond the limits.

        To be called when no process of the attempt is left; again after a crash at any point is
        fine. What is kept can be read by the server only; links are kept unfollowed, FIFOs and
        sockets are dropped. `workspace/` is removed. Raises CollectError.
        """
        replaced = self.path / "outputs.replaced"
        left_out = LeftOut()
        try:
            if os.path.lexists(self.outputs):
                left_out = self._move_outputs(outputs, replaced, limits)
            untrusted.remove(replaced)
            untrusted.remove(self.workspace)
        except untrusted.TooDeepError as error:
            untrusted.remove(self.workspace)
            raise CollectError(f"the outputs could not be kept: {error}") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise CollectError(f"the outputs could not be kept: {reason}") from error
        return left_out

    def kept(self, outputs: Path) -> Kept:
        """What is kept of the attempt and takes room. After `collect`; blocks."""
        moved, logs = measure(outputs), measure(self.run)
        # What could not be collected lies where it was.
        stayed = measure(self.outputs)
        return Kept(
            outputs_bytes=moved.bytes + stayed.bytes,
            outputs_files=moved.files + stayed.files,
            logs_bytes=logs.bytes,
            logs_files=logs.files,
        )

    def _move_outputs(self, outputs: Path, replaced: Path, limits: OutputLimits) -> LeftOut:
        if not stat.S_ISDIR(self.outputs.lstat().st_mode):
            self.outputs.unlink()
            self.outputs.mkdir(_PRIVATE)
        left_out = kept_outputs.keep(self.outputs, limits)
        if os.path.lexists(outputs):
            untrusted.remove(replaced)
            outputs.rename(replaced)
        self.outputs.rename(outputs)
        sync_folder(outputs.parent)
        sync_folder(self.path)
        return left_out

    def _log_bounds(self) -> tuple[int, int]:
        try:
            with self._run_fd() as run:
                return log_segments.bounds(run)
        except OSError:
            return 0, 0

    def _record(self, name: str) -> dict[str, str]:
        """The `key=value` lines of a small file; empty when there is no such file."""
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


def _integer(
    record: dict[str, str], key: str, low: int, high: int, *, default: int | None = None
) -> int:
    text = record.get(key)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch("[0-9]{1,19}", text) or not low <= int(text) <= high:
        raise ValueError(key)
    return int(text)
