"""`fetchml restore` into an existing folder: a mount point, behind a link, on a full disk."""

import errno
import io
import os
import signal
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.backup import archive as archives
from fetchml.backup.restore import restore as restore_backup
from fetchml.v1.task_pb2 import Task
from testbed.small_disk import mounted_disk, resize
from tests.support.cli_server import FETCHML, SECONDS, environment, run
from tests.support.program import Backend
from tests.support.server_fixtures import Serve
from tests.support.waiting import eventually

USER = 1234
LARGE = 256 * 1024


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """A backup of a data directory that has something of everything."""
    data_dir = tmp_path / "kept"
    for folder in ("store", "snapshots/code", "tasks/a/outputs"):
        (data_dir / folder).mkdir(parents=True)
    (data_dir / "store/fetchml.duckdb").write_bytes(b"rows")
    (data_dir / "admin.key").write_bytes(b"key")
    (data_dir / "tasks/a/outputs/large").write_bytes(os.urandom(LARGE))
    (data_dir / "tasks/a/outputs/link").symlink_to("large")
    written = io.BytesIO()
    archives.write(written, data_dir, data_dir / "store", with_outputs=True, with_keys=True)
    return written.getvalue()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """An empty file system, with room for one backup."""
    with mounted_disk(tmp_path / "data1", "64m") as folder:
        yield folder


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir(mode=0o755)
    return folder


def check_is_whole(data_dir: Path) -> None:
    assert {path.name for path in data_dir.iterdir()} - {"lost+found", "lock"} == {
        "admin.key",
        "snapshots",
        "store",
        "tasks",
    }
    assert (data_dir / "store/fetchml.duckdb").read_bytes() == b"rows"
    assert (data_dir / "tasks/a/outputs/link").stat().st_size == LARGE
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def owner_and_mode(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_uid, stat.S_IMODE(found.st_mode)


def check_is_untouched(empty: Path) -> None:
    assert not list(empty.iterdir())
    assert stat.S_IMODE(empty.stat().st_mode) == 0o755


def test_restore_into_mount_point_with_lost_and_found(archive: bytes, mounted: Path) -> None:
    (mounted / "lost+found").mkdir(mode=0o700)
    os.chown(mounted, USER, USER)
    before = set(mounted.parent.iterdir())
    restore_backup(io.BytesIO(archive), mounted)
    check_is_whole(mounted)
    made = {path for path in mounted.rglob("*") if path.name != "lost+found"}
    assert {path.lstat().st_uid for path in made | {mounted}} == {USER}
    assert set(mounted.parent.iterdir()) == before


async def test_server_runs_on_a_mount_point(
    mounted: Path, serve: Serve, processes_backend: Backend, tmp_path: Path
) -> None:
    first = await serve(processes_backend).start()
    task_id = await first.submit("true")
    await first.ended(task_id)
    await first.stop()
    backup = tmp_path / "backup"
    run("backup", str(backup), "--data-dir", str(first.data_dir)).succeeded()
    second = serve(processes_backend)
    assert second.data_dir == mounted
    run("restore", str(backup), "--data-dir", str(mounted)).succeeded()
    await second.start()
    assert (await second.get(task_id)).status == Task.completed
    await second.close()


def test_restore_behind_a_link(archive: bytes, empty: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("empty")
    restore_backup(io.BytesIO(archive), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    check_is_whole(empty)


def test_restore_behind_a_dangling_link(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("later/data")
    restore_backup(io.BytesIO(archive), tmp_path / "link")
    check_is_whole(tmp_path / "later/data")
    assert [path.name for path in (tmp_path / "later").iterdir()] == ["data"]


def test_restore_on_a_full_disk_leaves_the_folder_empty(archive: bytes, mounted: Path) -> None:
    mounted.chmod(0o755)
    resize(mounted, "128k")
    with pytest.raises(OSError, match="No space left"):
        restore_backup(io.BytesIO(archive), mounted)
    check_is_untouched(mounted)


def test_truncated_backup_leaves_the_folder_empty(archive: bytes, empty: Path) -> None:
    for end in (0, 100, len(archive) // 2, len(archive) - 10 * 1024):
        with pytest.raises(archives.BadBackup):
            restore_backup(io.BytesIO(archive[:end]), empty)
        check_is_untouched(empty)


@pytest.mark.parametrize(
    ("fault", "name", "after"),
    [(KeyboardInterrupt(), "tasks", True), (OSError(errno.EIO, "planted"), "store", False)],
)
def test_failure_while_parts_are_moved_up(
    archive: bytes,
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    name: str,
    *,
    after: bool,
) -> None:
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        there = rename(path, target) if after or path.name != name or path.parent == empty else path
        if path.name == name and path.parent != empty:
            raise fault
        return there

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", failing)
        with pytest.raises(type(fault)):
            restore_backup(io.BytesIO(archive), empty)
    check_is_untouched(empty)


def test_changed_byte_is_detected(archive: bytes, empty: Path) -> None:
    """Wherever it is: in a file, in a name, in what fills a block up, in the checksum."""
    content, name, end = (archive.index(what) for what in (b"rows", b"data/admin.key", b"sha256:"))
    padding = content + 100
    assert not archive[padding]
    for place in (content, name + 6, padding, end + 10):
        damaged = bytearray(archive)
        damaged[place] ^= 1
        with pytest.raises(archives.BadBackup, match="damaged"):
            restore_backup(io.BytesIO(damaged), empty)
        check_is_untouched(empty)


def test_backup_without_checksums_is_restored_with_a_note(tmp_path: Path) -> None:
    old = tmp_path / "old"
    with tarfile.open(old, "w") as tar:
        for path, content in (
            (archives.MARK, archives.FORM),
            ("data/store/fetchml.duckdb", b"rows"),
            (archives.COMPLETE, b""),
        ):
            archives._add_bytes(tar, path, content)
    ran = run("restore", str(old), "--data-dir", str(tmp_path / "new"))
    ran.succeeded()
    assert "has no checksum" in ran.err
    assert (tmp_path / "new/store/fetchml.duckdb").read_bytes() == b"rows"


def begin_restore(first: bytes, data_dir: Path) -> "subprocess.Popen[bytes]":
    """It waits for the rest."""
    restoring = subprocess.Popen(
        [*FETCHML, "restore", "-", "--data-dir", str(data_dir)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert restoring.stdin is not None
    restoring.stdin.write(first)
    restoring.stdin.flush()
    return restoring


async def test_interrupted_restore_and_concurrent_restore(
    archive: bytes, empty: Path, tmp_path: Path
) -> None:
    os.chown(empty, USER, USER)
    with begin_restore(archive[: LARGE // 2], empty) as restoring:
        await eventually(lambda: bool(list(empty.glob(".restoring-*/data"))))
        assert owner_and_mode(empty) == (0, 0o700), "its owner may write to it"
        (tmp_path / "backup").write_bytes(archive)
        for command, what in (
            (["restore", str(tmp_path / "backup")], "restore"),
            (["serve"], "server"),
        ):
            refused = run(*command, "--data-dir", str(empty))
            assert refused.code == 1, refused.err
            assert f"another {what}" in refused.err
        restoring.send_signal(signal.SIGINT)
        restoring.communicate(timeout=SECONDS)
        assert restoring.returncode == 130
    check_is_untouched(empty)
    assert owner_and_mode(empty) == (USER, 0o755)


def test_link_added_by_the_owner_is_not_followed(
    archive: bytes, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(empty, USER, USER)
    chown = os.chown

    def late(path: Path, *owner: int, **options: bool) -> None:
        if path == empty and not os.path.lexists(empty / "lock"):
            (empty / "lock").symlink_to(tmp_path / "not-his")
        chown(path, *owner, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "chown", late)
        with pytest.raises(archives.BadBackup, match="'lock' is in it"):
            restore_backup(io.BytesIO(archive), empty)
    assert [path.name for path in empty.iterdir()] == ["lock"]
    assert not (tmp_path / "not-his").exists()
    assert owner_and_mode(empty) == (USER, 0o755)


def test_restore_names_what_is_in_the_way(archive: bytes, empty: Path) -> None:
    (empty / ".restoring-old").mkdir()
    with pytest.raises(archives.BadBackup, match=r"not empty \('.restoring-old' is in it\)"):
        restore_backup(io.BytesIO(archive), empty)
    file = empty / ".restoring-old/file"
    file.touch()
    with pytest.raises(archives.BadBackup, match="is not a folder"):
        restore_backup(io.BytesIO(archive), file)
