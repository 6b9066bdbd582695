"""A backup is made whatever running tasks do to their files: what can't be read is left out, and
told."""

import errno
import io
import os
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fetchml.backup import archive as archives
from fetchml.backup import sparse
from fetchml.backup.restore import restore as restore_backup
from fetchml.files import secrets_file
from fetchml.files.attempt_records import request_relay, write_limit
from tests.support.cli_server import SECONDS, environment
from tests.support.other_user import enterable

USER = 1234
AS_USER = f"""
import os, sys
import fetchml.cli.backup, fetchml.cli.main
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({USER})
    os.setuid({USER})
fetchml.cli.main.main()
"""
"""The command, as one whom modes of files hold; the program's own may be root's alone."""


@pytest.fixture
def kept() -> Iterator[Path]:
    """A data directory with an attempt, where its user can reach it."""
    with tempfile.TemporaryDirectory(prefix="fetchml-") as folder:
        data_dir = Path(folder)
        for name in ("store", "snapshots", "tasks/a/attempts/1/run", "tasks/a/attempts/1/outputs"):
            (data_dir / name).mkdir(parents=True)
        (data_dir / "store/fetchml.duckdb").write_bytes(b"rows")
        (data_dir / "tasks/a/attempts/1/opened").touch()
        (data_dir / "tasks/a/attempts/1/outputs/result").write_bytes(b"kept")
        yield data_dir


@pytest.fixture
def outputs(kept: Path) -> Path:
    return kept / "tasks/a/attempts/1/outputs"


def backup(data_dir: Path) -> "subprocess.CompletedProcess[bytes]":
    if os.geteuid() == 0:
        for path in (data_dir, *data_dir.rglob("*")):
            os.chown(path, USER, USER)
    return subprocess.run(
        [*enterable(), sys.executable, "-c", AS_USER, "backup", "-", "--data-dir", str(data_dir)],
        capture_output=True,
        check=False,
        env=environment(),
        timeout=SECONDS,
    )


def names(archive: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {name.removeprefix("data/tasks/a/attempts/1/") for name in tar.getnames()}


def test_unreadable_task_files_are_skipped_and_counted(kept: Path, outputs: Path) -> None:
    (outputs / "shut").touch(mode=0)
    (outputs / "listed").mkdir()
    (outputs / "listed/file").touch()
    (kept / "tasks/a/attempts/1/run/folder").mkdir()
    (outputs / "listed").chmod(0o400)
    (kept / "tasks/a/attempts/1/run/folder").chmod(0)
    ran = backup(kept)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == b"Left out: 3 files or folders that cannot be read, or are links.\n"
    found = names(ran.stdout)
    assert {"opened", "run", "outputs", "outputs/result", "outputs/listed", "complete"} <= found
    assert not {"outputs/shut", "outputs/listed/file", "run/folder"} & found
    restore_backup(io.BytesIO(ran.stdout), kept / "restored")


def test_keys_and_secrets_of_attempts_are_left_out(kept: Path) -> None:
    """A cluster's shared folder, with the keys of ways into attempts, may be the data directory."""
    attempt = kept / "tasks/a/attempts/1"
    (attempt / "control").mkdir()
    write_limit(attempt / "control", 1000)
    request_relay(attempt / "control", "0" * 32, "0-0", "hidden")
    (attempt / "control/enter.new").write_text("hidden")
    (attempt / "run" / secrets_file.NAME).write_text("hidden")
    archive = backup(kept).stdout
    assert {"control/limit", "outputs/result"} <= names(archive)
    assert b"hidden" not in archive


def test_no_warning_when_everything_is_readable(kept: Path) -> None:
    ran = backup(kept)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["snapshots/code", "store/fetchml.duckdb.wal", "tasks/a/outputs"])
def test_missing_server_file_fails_the_backup(kept: Path, name: str) -> None:
    (kept / name).touch(mode=0)
    ran = backup(kept)
    assert ran.returncode == 1
    assert b"No backup was made" in ran.stderr
    assert b"Permission denied" in ran.stderr


@pytest.mark.parametrize("swap", ["link", "socket", "fifo", "gone", "folder"])
def test_file_swapped_during_backup_is_skipped(
    kept: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch, swap: str
) -> None:
    (kept / "secret").write_bytes(b"secret")
    file = outputs / "file"
    file.write_bytes(b"harmless")
    look = os.stat

    def swapping(path: Any, *args: Any, **options: Any) -> os.stat_result:
        found = look(path, *args, **options)
        if path == "file":
            file.unlink()
            if swap == "link":
                file.symlink_to(kept / "secret")
            elif swap == "folder":
                file.mkdir()
            elif swap != "gone":
                os.mknod(file, stat.S_IFSOCK if swap == "socket" else stat.S_IFIFO)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", swapping)
        archive = io.BytesIO()
        left_out = archives.write(archive, kept, kept / "store", with_outputs=True)
    assert left_out == (1 if swap in {"link", "socket"} else 0)
    assert b"secret" not in archive.getvalue()
    assert "outputs/result" in names(archive.getvalue())


def test_write_error_fails_the_backup(kept: Path, outputs: Path) -> None:
    (outputs / "large").write_bytes(bytes(1 << 20))

    class ShutOnce(io.BytesIO):
        shut = True

        def write(self, data: Any) -> int:
            if self.shut:
                self.shut = False
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return super().write(data)

    with pytest.raises(PermissionError):
        archives.write(ShutOnce(), kept, kept / "store", with_outputs=True)


SPARSE: dict[str, tuple[int, tuple[int, ...]]] = {
    "a hole": (1 << 40, ()),
    "data at the begin": (1 << 40, (0,)),
    "data at the end": ((1 << 40) + 7, (1 << 40,)),
    "data between holes": (1 << 40, (1 << 20, 5 << 20, (5 << 20) + 8192, 1 << 39)),
}


@pytest.mark.parametrize("kind", SPARSE)
def test_holes_take_no_space_in_a_backup(
    kept: Path, outputs: Path, tmp_path: Path, kind: str
) -> None:
    size, at = SPARSE[kind]
    name = "sparse-" + "x" * 200
    for folder in (outputs, kept / "tasks/a/attempts/1/run"):
        with (folder / name).open("wb") as file:
            file.truncate(size)
            for offset in at:
                file.seek(offset)
                file.write(b"data at %d" % offset if offset < 1 << 40 else b"the end")
    archive = tmp_path / "backup.tar"
    with archive.open("wb") as written:
        assert archives.write(written, kept, kept / "store", with_outputs=True) == 0
    assert archive.stat().st_size < 1 << 20
    with archive.open("rb") as read:
        restore_backup(read, kept / "restored")
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path], check=True)
    for root in (kept / "restored", tmp_path / "data"):
        for part in ("outputs", "run"):
            path = root / "tasks/a/attempts/1" / part / name
            assert (path.stat().st_size, path.stat().st_blocks < 4096) == (size, True)
            with path.open("rb") as file:
                for offset in at:
                    file.seek(offset)
                    expected = b"data at %d" % offset if offset < 1 << 40 else b"the end"
                    assert file.read(len(expected)) == expected


def test_small_holes_at_most_double_a_file(kept: Path, outputs: Path) -> None:
    pieces, hole = 300, 4096
    with (outputs / "sparse").open("wb") as file:
        for number in range(pieces):
            file.seek(number * (4096 + hole))
            file.write(b"%04d" % number * 1024)
    data = (outputs / "sparse").stat().st_blocks * 512
    archive = io.BytesIO()
    archives.write(archive, kept, kept / "store", with_outputs=True)
    assert len(archive.getvalue()) < 2 * data + (100 << 10)
    archive.seek(0)
    restore_backup(archive, kept / "restored")
    restored = kept / "restored/tasks/a/attempts/1/outputs/sparse"
    assert restored.read_bytes() == (outputs / "sparse").read_bytes()


def test_sparse_file_that_shrinks_during_a_backup_is_filled_with_zeros(
    kept: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = outputs / "sparse"
    file.write_bytes(b"x" * (1 << 20))
    os.truncate(file, 16 << 20)
    describe = sparse.SparseFile.describe

    def shrinks(self: sparse.SparseFile, entry: tarfile.TarInfo) -> None:
        describe(self, entry)
        os.truncate(file, 5)

    monkeypatch.setattr(sparse.SparseFile, "describe", shrinks)
    archive = io.BytesIO()
    archives.write(archive, kept, kept / "store", with_outputs=True)
    archive.seek(0)
    restore_backup(archive, kept / "restored")
    restored = (kept / "restored/tasks/a/attempts/1/outputs/sparse").read_bytes()
    assert (len(restored), restored.rstrip(b"\0")) == (16 << 20, b"xxxxx")


def test_backup_of_an_earlier_release_is_restored(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FORM", archives.EARLIER_FORM)
    archive = io.BytesIO()
    archives.write(archive, kept, kept / "store", with_outputs=True)
    archive.seek(0)
    restore_backup(archive, kept / "restored")
    assert (kept / "restored/tasks/a/attempts/1/outputs/result").read_bytes() == b"kept"


@pytest.mark.parametrize(
    "map_",
    [
        b"",
        b"x\n",
        b"-1\n",
        b"1\n0\n",
        b"1\n0\n2000\n",
        b"1\n900\n200\n",
        b"2\n500\n10\n505\n10\n",
        b"1\n0\n99\n",
        b"1\n" + b"1" * 600,
        b"2000000\n",
        b"1\n9999999999999999999\n0\n",
    ],
)
def test_nonsensical_map_of_a_sparse_file_is_refused(map_: bytes) -> None:
    """Of a file of 1,000 bytes, 100 of which follow the map."""
    content = map_.ljust(-(-max(1, len(map_)) // 512) * 512, b"\0")
    source = io.BytesIO(content + bytes(100))
    with pytest.raises(ValueError, match="sparse"):
        list(sparse.read_map(source, len(content) + 100, 1000))
