"""Root works in the data directory of another user, as beside an installed service."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.config import data_dir as config
from tests.support.cli_server import FETCHML, Server, run
from tests.support.other_user import NOBODY, as_user

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Of nobody's, with a key in it; no server runs. Not below `tmp_path`, where only root goes."""
    folder = Path(tempfile.mkdtemp(prefix="fetchml-owner-"))
    folder.chmod(0o755)
    data_dir = folder / "data"
    data_dir.mkdir(mode=0o700)
    shutil.chown(data_dir, NOBODY, NOBODY)
    server = _server(data_dir).start()
    server.run("keys", "--data-dir", str(data_dir), "create", "ada").succeeded()
    assert server.stop() == 0
    yield data_dir
    shutil.rmtree(folder)


def _server(data_dir: Path) -> Server:
    temporary = tempfile.gettempdir()
    return Server(
        data_dir, program=as_user(NOBODY, *FETCHML), HOME="/nonexistent", TMPDIR=temporary
    )


def _strangers(folder: Path) -> list[Path]:
    return [
        path
        for path in (folder, *folder.rglob("*"))
        if (path.lstat().st_uid, path.lstat().st_gid) != (NOBODY, NOBODY)
    ]


@only_root
@pytest.mark.slow
def test_keys_created_by_root_belong_to_the_data_owner(data_dir: Path) -> None:
    # As after a restore, or a kill: whatever is missing is made.
    (data_dir / "lock").unlink()
    (data_dir / "store/header.copy").unlink()
    (data_dir / "store/fetchml.duckdb.wal").unlink(missing_ok=True)
    run("keys", "--data-dir", str(data_dir), "create", "eve").succeeded()
    assert _strangers(data_dir) == []
    listed = run("keys", "--data-dir", str(data_dir), "ls").succeeded()
    assert "ada" in listed
    assert "eve" in listed
    assert run("keys", "--data-dir", str(data_dir), "revoke", "nothing").code == 5
    server = _server(data_dir).start()
    assert "eve" in server.run("keys", "--data-dir", str(data_dir), "ls").succeeded()
    assert server.stop() == 0


@pytest.mark.slow
@only_root
def test_backup_by_root_belongs_to_root_and_leaves_no_file(data_dir: Path, tmp_path: Path) -> None:
    (data_dir / "lock").unlink()
    file = tmp_path / "backup.tar"
    run("backup", "--data-dir", str(data_dir), str(file)).succeeded()
    assert file.stat().st_uid == 0
    assert _strangers(data_dir) == []


@only_root
def test_root_cannot_serve_data_of_another_user(data_dir: Path) -> None:
    refused = run("serve", "--data-dir", str(data_dir), "--launcher", "process").failed(1)
    assert "is the data directory of user nobody" in refused
    assert "sudo -u nobody fetchml serve" in refused
    assert _strangers(data_dir) == []


def test_service_data_are_the_default_for_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setattr(config, "SERVICE_DATA", tmp_path / "fetchml")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert config.default_data_dir() == Path("/state/fetchml")
    (tmp_path / "fetchml").mkdir()
    owner = (tmp_path / "fetchml").stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    assert config.default_data_dir() == Path("/state/fetchml")
    monkeypatch.setattr("os.geteuid", lambda: owner)
    assert config.default_data_dir() == tmp_path / "fetchml"
