"""Backups that are interrupted or killed, and name conflicts."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fetchml.backup.store_copy import PREFIX
from fetchml.files.own_file import AlreadyExists, new_file
from tests.support.cli_server import FETCHML, SECONDS, Server, environment, run
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MORE_THAN_A_PIPE_TAKES = 4 << 20
HEARS_SIGNALS = ("env", "--default-signal=HUP,INT,TERM")
"""Also where whoever started the tests ignores them, as nohup does."""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With a snapshot that is too large for a pipe: who doesn't read keeps the backup waiting."""
    folder = tmp_path_factory.mktemp("serving")
    server = Server(folder / "data").start()
    code = folder / "code"
    code.mkdir()
    (code / "weights").write_bytes(os.urandom(MORE_THAN_A_PIPE_TAKES))
    server.run("snapshot", "create", str(code)).succeeded()
    yield server
    server.stop()


@pytest.fixture
def waiting(serving: Server) -> Iterator["subprocess.Popen[bytes]"]:
    """In the middle of its archive."""
    with subprocess.Popen(
        [*HEARS_SIGNALS, *FETCHML, "backup", "-", "--data-dir", str(serving.data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as backup:
        assert backup.stdout is not None
        assert backup.stdout.read(1)
        yield backup
        backup.kill()


def copies(server: Server) -> list[Path]:
    return list(server.data_dir.glob(f"{PREFIX}*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_backup_leaves_nothing(
    serving: Server, waiting: "subprocess.Popen[bytes]", number: signal.Signals
) -> None:
    assert len(copies(serving)) == 1
    waiting.send_signal(number)
    assert waiting.wait(SECONDS) == 128 + number
    assert not copies(serving)


async def test_next_backup_removes_the_copy_of_a_killed_one(
    serving: Server, waiting: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    [left] = copies(serving)
    ran = await asyncio.to_thread(serving.run, "backup", str(tmp_path / "one"))
    ran.succeeded()
    assert copies(serving) == [left], "it is read"
    waiting.kill()
    waiting.wait()
    ran = await asyncio.to_thread(serving.run, "backup", str(tmp_path / "two"))
    ran.succeeded()
    assert not copies(serving)


def test_file_created_meanwhile_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "backup"
    with ExitStack() as stack:
        stack.enter_context(new_file(place)).write(b"new")
        place.write_bytes(b"other")
        with pytest.raises(AlreadyExists, match="created concurrently"):
            stack.close()
    assert place.read_bytes() == b"other"
    assert list(tmp_path.iterdir()) == [place]


def test_one_of_two_backups_with_the_same_name_is_complete(tmp_path: Path) -> None:
    place = tmp_path / "backup"
    with ExitStack() as stack:
        stack.enter_context(new_file(place)).write(b"first")
        with new_file(place) as second:
            second.write(b"second")
        with pytest.raises(AlreadyExists, match="created concurrently"):
            stack.close()
    assert place.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [place]


def test_dangling_link_is_not_overwritten(serving: Server, tmp_path: Path) -> None:
    (tmp_path / "backup").symlink_to("elsewhere")
    refused = run("backup", str(tmp_path / "backup"), "--data-dir", str(serving.data_dir)).failed(2)
    assert "already exists" in refused
    assert not (tmp_path / "elsewhere").exists()


def begin_restore(file: Path, data_dir: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*HEARS_SIGNALS, *FETCHML, "restore", str(file), "--data-dir", str(data_dir)],
        env=environment(),
    )


async def test_reading_from_a_silent_pipe_can_be_interrupted(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = -1

    def is_read() -> bool:
        nonlocal writer
        with suppress(OSError):
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        return writer != -1

    with begin_restore(pipe, tmp_path / "new") as restoring:
        await eventually(is_read)
        restoring.send_signal(signal.SIGTERM)
        assert restoring.wait(SECONDS) == 128 + signal.SIGTERM
    os.close(writer)
    assert not (tmp_path / "new").exists()
