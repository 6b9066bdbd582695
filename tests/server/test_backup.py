"""`fetchml backup` beside a busy server, and `fetchml restore` of the result."""

import asyncio
import io
import os
import stat
import tarfile
from pathlib import Path

import grpc
import pytest

from fetchml.backup import archive as archives
from fetchml.backup.restore import restore as restore_backup
from fetchml.core.model import Role
from fetchml.v1 import backup_pb2
from fetchml.v1.backup_pb2_grpc import BackupServiceStub
from fetchml.v1.task_pb2 import Task
from tests.support.cli_server import Ran, run
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve


async def make_backup(server: Server, file: Path, *flags: str) -> Ran:
    where = ("--data-dir", str(server.data_dir))
    return await asyncio.to_thread(run, "backup", str(file), *where, *flags)


def restore(file: Path, data_dir: Path) -> Ran:
    return run("restore", str(file), "--data-dir", str(data_dir))


def names(file: Path) -> set[str]:
    with tarfile.open(file) as tar:
        return set(tar.getnames())


def drafts(folder: Path) -> list[Path]:
    return list(folder.glob("*.part"))


async def restored(serve: Serve, backend: Backend, file: Path) -> Server:
    """A second server, on what the backup holds."""
    server = serve(backend)
    ran = await asyncio.to_thread(restore, file, server.data_dir)
    ran.succeeded()
    return await server.start()


@pytest.mark.slow
async def test_backup_under_load_contains_all_acknowledged_before(
    serve: Serve, processes_backend: Backend, tmp_path: Path
) -> None:
    server = await serve(processes_backend, FETCHML_TASKS_MAX_RUNNING="1").start()
    done = await server.submit("echo said; echo kept > $FETCHML_OUTPUTS/result")
    assert (await server.ended(done)).status == Task.completed
    await server.submit("sleep 600")
    before = [done, *[await server.submit("true") for _ in range(20)]]
    acknowledged = list(before)
    over = asyncio.Event()

    async def submit_on() -> None:
        while not over.is_set():
            acknowledged.append(await server.submit("true"))

    submitting = asyncio.create_task(submit_on())
    (await make_backup(server, tmp_path / "backup")).succeeded()
    over.set()
    await submitting
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
    assert not list(server.data_dir.glob(".store-copy-*"))
    await server.kill()

    other = await restored(serve, processes_backend, tmp_path / "backup")
    total = (await other.rest.get("/v1/tasks?limit=0")).json["total"]
    assert len(before) < total <= len(acknowledged) + 2
    for task_id in before:
        assert (await other.get(task_id)).id == task_id
    assert (await other.get(done)).output == "said\n"
    assert (await other.rest.get(f"/v1/tasks/{done}/outputs/result")).body == b"kept\n"


async def test_restored_running_task_is_recovered_as_after_a_crash(
    serve: Serve, processes_backend: Backend, tmp_path: Path
) -> None:
    server = await serve(processes_backend).start()
    task_id = await server.submit_running("[ $FETCHML_ATTEMPT = 1 ] && sleep 600; exit 6")
    (await make_backup(server, tmp_path / "backup")).succeeded()
    await server.close()
    other = await restored(serve, processes_backend, tmp_path / "backup")
    task = await other.ended(task_id)
    assert (task.exit_code, task.attempt, task.retry_count) == (6, 2, 0), task
    await other.assert_idle(task_id)


async def test_backup_of_a_stopped_server(
    serve: Serve, processes_backend: Backend, tmp_path: Path
) -> None:
    server = await serve(processes_backend).start()
    task_id = await server.submit("true")
    await server.ended(task_id)
    await server.kill()
    (await make_backup(server, tmp_path / "backup", "--no-tasks")).succeeded()
    assert not [name for name in names(tmp_path / "backup") if "tasks" in name]
    other = await restored(serve, processes_backend, tmp_path / "backup")
    assert (await other.get(task_id)).status == Task.completed


async def test_only_the_data_owner_may_copy_the_store(
    serve: Serve, processes_backend: Backend
) -> None:
    server = await serve(processes_backend).start()
    await server.key("other", Role.ADMIN)
    stub = BackupServiceStub(server.grpc.channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CopyStore(backup_pb2.CopyStoreRequest())
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert not list(server.data_dir.glob(".store-copy-*"))


async def test_no_copy_without_disk_space(
    serve: Serve, processes_backend: Backend, tmp_path: Path
) -> None:
    server = await serve(processes_backend, FETCHML_HISTORY_MIN_FREE_MB=str((1 << 31) - 1)).start()
    ran = await make_backup(server, tmp_path / "backup")
    assert ran.code == 3
    assert "No space left" in ran.err
    assert not (tmp_path / "backup").exists()
    assert not drafts(tmp_path)
    assert not list(server.data_dir.glob(".store-copy-*"))


async def test_leftover_copy_is_removed_at_the_next_start(
    serve: Serve, processes_backend: Backend
) -> None:
    server = await serve(processes_backend).start()
    await server.stop()
    (server.data_dir / ".store-copy-old").mkdir()
    await server.start()
    assert not list(server.data_dir.glob(".store-copy-*"))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A data directory with a hostile task's files."""
    data_dir = tmp_path / "kept"
    for folder in ("store", "tasks/a/attempts/1/run", "tasks/a/attempts/2", "tasks/a/outputs"):
        (data_dir / folder).mkdir(parents=True)
    (data_dir / "store/fetchml.duckdb").write_bytes(b"rows")
    (tmp_path / "secret").write_text("secret")
    outputs = data_dir / "tasks/a/outputs"
    (outputs / "file").symlink_to(tmp_path / "secret")
    (outputs / "folder").symlink_to(tmp_path)
    os.mkfifo(outputs / "fifo")
    (data_dir / "tasks/a/attempts/1/opened").touch()
    os.mkfifo(data_dir / "tasks/a/attempts/1/run/gate")
    return data_dir


def archive_of(data_dir: Path) -> bytes:
    archive = io.BytesIO()
    archives.write(archive, data_dir, data_dir / "store", with_outputs=True)
    return archive.getvalue()


def test_links_are_kept_without_being_followed(kept: Path, tmp_path: Path) -> None:
    archive = archive_of(kept)
    assert b"secret" not in archive.replace(str(tmp_path / "secret").encode(), b"")
    restore_backup(io.BytesIO(archive), tmp_path / "new")
    outputs = tmp_path / "new/tasks/a/outputs"
    assert {path.name for path in outputs.iterdir()} == {"file", "folder"}
    assert (outputs / "file").readlink() == tmp_path / "secret"
    attempts = tmp_path / "new/tasks/a/attempts"
    assert [path.name for path in attempts.iterdir()] == ["1"], "the other never began"
    assert not list((attempts / "1/run").iterdir())


def test_file_that_changes_size_is_archived_consistently(kept: Path) -> None:
    file = io.BytesIO(b"abc")
    assert archives._FixedSizeReader(file, 5).read() == b"abc\0\0"
    file.seek(0)
    assert archives._FixedSizeReader(file, 2).read() == b"ab"
    assert archive_of(kept)


def test_newer_backup_format_is_rejected(kept: Path, tmp_path: Path) -> None:
    later = archive_of(kept).replace(archives.FORM.ljust(512, b"\0"), b"3\n".ljust(512, b"\0"), 1)
    with pytest.raises(archives.BadBackup, match="newer"):
        restore_backup(io.BytesIO(later), tmp_path / "new")


@pytest.mark.parametrize("name", ["data", "data/../../evil", "data/link/evil"])
def test_restore_writes_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        archives._add_bytes(tar, archives.MARK, archives.FORM)
        link = tarfile.TarInfo("data/link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        archives._add_bytes(tar, name, b"evil")
        archives._add_bytes(tar, archives.COMPLETE, b"")
    archive.seek(0)
    with pytest.raises((archives.BadBackup, OSError)):
        restore_backup(archive, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_existing_data_is_never_overwritten(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "backup").write_bytes(archive_of(kept))
    ran = restore(tmp_path / "backup", kept)
    assert ran.code == 1
    assert "is not empty" in ran.err
    assert (kept / "store/fetchml.duckdb").read_bytes() == b"rows"
    again = run("backup", str(tmp_path / "backup"), "--data-dir", str(kept))
    assert again.code == 2


def test_folder_without_server_data_is_not_backed_up(tmp_path: Path) -> None:
    ran = run("backup", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "no")).failed(1)
    assert "is not a data directory of FetchML" in ran
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["store", "snapshots", "tasks"])
def test_backup_that_would_lack_a_linked_folder_is_refused(
    kept: Path, tmp_path: Path, name: str
) -> None:
    (kept / "snapshots").mkdir()
    (kept / name).rename(tmp_path / name)
    (kept / name).symlink_to(tmp_path / name)
    refused = run("backup", str(tmp_path / "backup"), "--data-dir", str(kept)).failed(1)
    assert f"{kept / name} is a symbolic link, which a backup does not follow: mount" in refused
    assert not list(tmp_path.glob("backup*"))


def test_data_directory_may_be_a_link(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(kept)
    run("backup", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "link")).succeeded()
    assert "data/tasks/a/outputs/file" in names(tmp_path / "backup")
