"""Forged backups, and foreign files in place of the server's own."""

import io
import os
import re
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.adapters.duckdb.database import open_database
from fetchml.adapters.duckdb.recovery import DatabaseFiles
from fetchml.backup import archive as archives
from fetchml.backup.restore import restore
from fetchml.core.model import Role
from fetchml.files.control_socket import control_socket
from fetchml.files.data_dir import is_taken, lock_data_dir
from fetchml.files.own_file import read_own, write_durably
from fetchml.jupyter.records import load_key
from tests.support.cli_server import run
from tests.support.program import ADMIN_KEY, Backend
from tests.support.server_fixtures import Serve

Entry = tuple[str, str | bytes | None]
"""Path, and a link's target (str), a file's content (bytes), or None for a folder."""


def archive(*entries: Entry) -> io.BytesIO:
    written = io.BytesIO()
    with tarfile.TarFile(fileobj=written, mode="w") as tar:
        whole = (("fetchml-backup", b"1\n"), ("data/store/fetchml.duckdb", b"rows"), *entries)
        for path, content in (*whole, ("complete", b"")):
            entry = tarfile.TarInfo(path)
            match content:
                case str():
                    entry.type, entry.linkname = tarfile.SYMTYPE, content
                case None:
                    entry.type = tarfile.DIRTYPE
                case bytes():
                    entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    written.seek(0)
    return written


@pytest.mark.parametrize(
    "path",
    [
        "data/lock",
        "data/admin.key",
        "data/jupyter",
        "data/datasets",
        "data/store/header.copy",
        "data/store/fetchml.duckdb.wal",
        "data/store/temporary",
        "data/snapshots",
        "data/snapshots/code/tree",
        "data/tasks",
        "data/tasks/a",
        "data/tasks/a/attempts",
        "data/tasks/a/attempts/1",
    ],
)
def test_restore_rejects_link_in_place_of_server_file(path: str, tmp_path: Path) -> None:
    with pytest.raises(archives.BadBackup, match=re.escape(path)):
        restore(archive((path, "/etc/shadow")), tmp_path / "data")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "entry",
    [
        ("data/lock", b"{}"),
        ("data/jupyter/notes", b"x"),
        ("data/.store-copy-x/taken", b"x"),
        ("data/store/fetchml.conf", b"x"),
        ("data/store/temporary/x", b"x"),
        ("data/admin.key", None),
    ],
)
def test_restore_rejects_unexpected_file(entry: Entry, tmp_path: Path) -> None:
    with pytest.raises(archives.BadBackup, match=re.escape(entry[0])):
        restore(archive(entry), tmp_path / "data")
    assert not list(tmp_path.iterdir())


def test_links_in_user_and_task_folders_are_restored(tmp_path: Path) -> None:
    inside = [
        "data/tasks/a/outputs/best",
        "data/tasks/a/attempts/1/run/output",
        "data/tasks/a/attempts/1/outputs/deep/best",
        "data/snapshots/code/tree/train",
    ]
    folders = sorted({path.rpartition("/")[0] for path in inside})
    links = [(path, "elsewhere") for path in inside]
    restore(archive(*((folder, None) for folder in folders), *links), tmp_path / "data")
    assert all((tmp_path / path).is_symlink() for path in inside)


def test_backup_skips_link_in_place_of_task_folder(tmp_path: Path) -> None:
    """Older releases have such links in their backups: they restore."""
    planted = [f"data/tasks/a/attempts/1/{name}" for name in ("run", "outputs", "revoked")]
    restore(archive(*((path, "/etc") for path in planted)), tmp_path / "data")
    assert not any(os.path.lexists(tmp_path / path) for path in planted)
    kept = tmp_path / "kept"
    (kept / "store").mkdir(parents=True)
    (kept / "store/fetchml.duckdb").touch()
    (kept / "tasks/a/attempts/1").mkdir(parents=True)
    (kept / "tasks/a/attempts/1/opened").touch()
    (kept / "tasks/a/attempts/1/run").symlink_to("/etc")
    written = io.BytesIO()
    archives.write(written, kept, kept / "store", with_outputs=True)
    written.seek(0)
    with tarfile.open(fileobj=written) as tar:
        assert not [member.name for member in tar if member.issym()]


def open_store(data_dir: Path) -> None:
    (data_dir / "store").mkdir(exist_ok=True)
    open_database(DatabaseFiles.below(data_dir), memory_limit="100MiB").close()


def bind_control(data_dir: Path) -> None:
    with control_socket(data_dir) as path, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("lock", lock_data_dir),
        ("lock", is_taken),
        ("admin.key.new", lambda folder: write_durably(folder / "admin.key", b"key\n")),
        ("jupyter.key", load_key),
        ("jupyter.key.new", load_key),
        ("store/fetchml.duckdb", open_store),
        ("store/fetchml.duckdb.wal", open_store),
        ("store/header.copy", open_store),
        ("control.sock", bind_control),
    ],
)
def test_server_follows_no_link_in_place_of_its_own_file(
    name: str, use: Callable[[Path], object], tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    (data_dir / "store").mkdir(mode=0o700, parents=True)
    data_dir.chmod(0o700)
    victim = tmp_path / "victim"
    victim.write_bytes(b"somebody's")
    (data_dir / name).symlink_to(victim)
    with pytest.raises(OSError, match="link"):
        use(data_dir)
    assert victim.read_bytes() == b"somebody's"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_special_file_in_place_of_server_file_is_rejected(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "lock")
    with pytest.raises(OSError, match="no regular file"):
        lock_data_dir(tmp_path)
    with pytest.raises(OSError, match="no regular file"):
        read_own(tmp_path / "lock", 1)


@pytest.mark.slow
async def test_backup_contains_no_key_and_restore_lists_admins(
    serve: Serve, processes_backend: Backend, tmp_path: Path
) -> None:
    server = await serve(processes_backend).start()
    await server.key("eve-admin", Role.ADMIN)
    await server.key("ada", Role.USER)
    gone = await server.key("gone", Role.ADMIN)
    listed = run("keys", "--data-dir", str(server.data_dir), "ls").succeeded()
    lines = [line.split() for line in listed.splitlines()]
    ids = {line[1]: line[0] for line in lines if len(line) > 2}
    run("keys", "--data-dir", str(server.data_dir), "revoke", ids["gone"]).succeeded()
    secrets = {(server.data_dir / "jupyter.key").read_bytes(), ADMIN_KEY.encode(), gone.encode()}
    plain, keyed = tmp_path / "plain.tar", tmp_path / "keyed.tar"
    run("backup", str(plain), "--data-dir", str(server.data_dir)).succeeded()
    run("backup", str(keyed), "--data-dir", str(server.data_dir), "--with-keys").succeeded()
    await server.stop()
    content = plain.read_bytes()
    assert not [secret for secret in secrets if secret in content]
    assert (server.data_dir / "jupyter.key").read_bytes() in keyed.read_bytes()
    told = run("restore", str(plain), "--data-dir", str(tmp_path / "back")).succeeded()
    assert ids["eve-admin"] in told
    assert "eve-admin" in told
    assert f"fetchml keys --data-dir {tmp_path}/back revoke ID" in told
    assert not [name for name in ("ada", "gone") if ids[name] in told]
