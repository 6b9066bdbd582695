"""The attempt's folder, with files as a shim writes them and as a hostile task may leave them."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.core.model import AttemptEnd
from fetchml.files import kept_outputs, untrusted
from fetchml.files.attempt_folder import AttemptFolder, Claim, CollectError, StartRecord


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    folder = AttemptFolder(tmp_path / "tasks/t/attempts/1")
    folder.create(os.geteuid(), os.getegid())
    return folder


@pytest.fixture
def kept(folder: AttemptFolder) -> Path:
    """Where the task's outputs are collected to."""
    return folder.path.parent.parent / "outputs"


def segment(folder: AttemptFolder, start: int, data: bytes) -> Path:
    path = folder.run / f"log.{start:020}"
    path.write_bytes(data)
    return path


# Making, gate, claim


def test_create_is_private_and_may_be_repeated(folder: AttemptFolder) -> None:
    folder.create(os.geteuid(), os.getegid())
    for path in (folder.path, folder.run, folder.workspace, folder.outputs):
        assert path.stat().st_mode & 0o777 == 0o700
    assert (folder.run / "gate").is_fifo()


def test_create_for_a_user_that_only_the_image_knows(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path / "attempt")
    folder.create(None, None)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.run.stat().st_mode & 0o777 == 0o777
    assert (folder.run / "gate").stat().st_mode & 0o777 == 0o666


def test_owner_is_kept_across_servers(folder: AttemptFolder, tmp_path: Path) -> None:
    """A shim may wait there as this server's own uid."""
    assert folder.owner() == (os.geteuid(), os.getegid())
    assert AttemptFolder(tmp_path / "new").owner() is None
    open_to_all = AttemptFolder(tmp_path / "image")
    open_to_all.create(None, None)
    assert open_to_all.owner() is None


def test_open_gate_wakes_waiting_shims_and_stays_open(folder: AttemptFolder) -> None:
    gate = os.open(folder.run / "gate", os.O_RDWR | os.O_NONBLOCK)
    try:
        folder.open_gate()
        folder.open_gate()
        assert os.read(gate, 10) == b"11"
    finally:
        os.close(gate)
    assert (folder.run / "open").exists()
    folder.open_gate()  # nobody waits any more


def test_revoke_is_a_claim(folder: AttemptFolder) -> None:
    assert folder.claim() is None
    assert folder.revoke()
    assert folder.revoke()
    assert folder.claim() == Claim(revoked=True)
    assert (folder.run / "open").exists()


def test_revoke_before_anything_was_made(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path / "attempt")
    assert folder.revoke()
    folder.create(os.geteuid(), os.getegid())
    assert folder.claim() == Claim(revoked=True)


def test_revoke_comes_too_late(folder: AttemptFolder) -> None:
    (folder.run / "claim").write_text("pid=7\nstarttime=99\nboot_id=abc\n")
    assert not folder.revoke()
    assert folder.claim() == Claim(pid=7, starttime=99, boot_id="abc")


@pytest.mark.parametrize("content", ["", "pid=7", "pid=-1\nstarttime=0", "pid=x\nstarttime=0"])
def test_incomplete_claim_counts_as_a_claim(folder: AttemptFolder, content: str) -> None:
    (folder.run / "claim").write_text(content)
    assert folder.claim() == Claim()
    assert not folder.revoke()


# Records


def test_started_and_end(folder: AttemptFolder) -> None:
    (folder.run / "started").write_text("at_ms=1700000000000\npid=12\n")
    assert folder.started() == StartRecord(at=1_700_000_000_000, pid=12)
    (folder.run / "exit").write_text(
        "code=127\nat_ms=1700000000001\nstarted_ms=1700000000000\ntimed_out=0\nstopped=0\n"
        "log_bytes=0\nerror=no \x1b[31msuch\n"
    )
    assert folder.end() == AttemptEnd(
        at=1_700_000_000_001,
        started_at=1_700_000_000_000,
        code=127,
        start_error="no ?[31msuch",
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\0\0",
        b"at_ms=1\n",
        b"code=1\nsignal=9\nat_ms=1\n",
        b"code=256\nat_ms=1\n",
        b"signal=65\nat_ms=1\n",
        b"code=1\nat_ms=99999999999999999999999\n",
        b"code=1\nat_ms=253402300800000\n",
        b"code=1\nat_ms=-1\n",
        b"code=1_0\nat_ms=1\n",
        b"code=1\nat_ms=1\ntimed_out=2\n",
        "code=\N{ARABIC-INDIC DIGIT THREE}\nat_ms=1\n".encode(),
        b"x" * 10_000 + b"\ncode=1\nat_ms=1\n",
    ],
)
def test_malformed_end_reads_as_none(folder: AttemptFolder, content: bytes) -> None:
    (folder.run / "exit").write_bytes(content)
    (folder.run / "started").write_bytes(content)
    assert folder.end() is None
    assert folder.started() is None


def test_an_end_is_never_before_the_start(folder: AttemptFolder) -> None:
    (folder.run / "exit").write_text("code=0\nat_ms=5\nstarted_ms=9\n")
    assert folder.end() == AttemptEnd(at=9, started_at=9, code=0)


def as_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_link(path: Path) -> None:
    secret = path.parent.parent / "secret"
    secret.write_text("code=0\nat_ms=1\nrevoked=1\nsecret")
    path.symlink_to(secret)


def as_folder(path: Path) -> None:
    path.mkdir()


def as_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [as_fifo, as_link, as_folder, as_socket])
def test_only_regular_files_are_read(
    folder: AttemptFolder, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.run)  # a socket's path has 107 bytes at most
    for name in ("claim", "started", "exit", "open", f"log.{0:020}"):
        make(Path(name).absolute() if make is as_link else Path(name))
    (folder.run / "gate").unlink()
    make(Path("gate").absolute() if make is as_link else Path("gate"))
    assert folder.claim() == Claim()
    assert not folder.revoke()
    assert folder.started() is None
    assert folder.end() is None
    assert folder.tail() == b""
    folder.open_gate()


def test_a_run_folder_that_is_gone_or_a_link(folder: AttemptFolder, tmp_path: Path) -> None:
    folder.run.rename(tmp_path / "elsewhere")
    assert (folder.end(), folder.started(), folder.tail()) == (None, None, b"")
    folder.run.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/exit").write_text("code=0\nat_ms=1\n")
    assert folder.end() is None
    with pytest.raises(OSError, match="Not a directory"):
        folder.open_gate()


# The log


def test_the_log_over_segments(folder: AttemptFolder) -> None:
    assert (folder.log_start(), folder.log_end(), folder.tail()) == (0, 0, b"")
    segment(folder, 10, b"0123456789")
    segment(folder, 20, b"abc")
    assert (folder.log_start(), folder.log_end()) == (10, 23)
    assert folder.read_log(0, 4) == (10, b"0123")
    assert folder.read_log(17, 100) == (17, b"789abc")
    assert folder.read_log(18, 3) == (18, b"89a")
    assert folder.read_log(20, 100) == (20, b"abc")
    assert folder.read_log(23, 100) == (23, b"")
    assert folder.read_log(99, 100) == (99, b"")
    assert folder.read_log(10, 0) == (10, b"")
    assert folder.tail(5) == b"89abc"


def test_a_log_with_a_hole(folder: AttemptFolder) -> None:
    segment(folder, 0, b"01")
    segment(folder, 10, b"ab")
    assert folder.read_log(0, 100) == (0, b"01")
    assert folder.read_log(2, 100) == (10, b"ab")


def test_forged_log_segments(folder: AttemptFolder) -> None:
    huge = folder.run / f"log.{5:020}"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    (folder.run / f"log.{10**19:020}").touch()
    (folder.run / "log.5").touch()
    assert folder.read_log(0, 10) == (5, b"\0" * 10)
    assert folder.log_end() == 5 + (1 << 40)
    assert len(folder.tail()) == 65536


def test_a_run_folder_with_very_many_files(folder: AttemptFolder) -> None:
    for number in range(1200):
        (folder.run / f"log.{number:020}").touch()
    assert folder.read_log(0, 10)[1] == b""
    assert folder.log_end() < 1200


def test_reading_while_the_shim_rotates(folder: AttemptFolder) -> None:
    stop = threading.Event()

    def rotate() -> None:
        start = 0
        while not stop.is_set():
            segment(folder, start, start.to_bytes(8, "big"))
            (folder.run / f"log.{max(0, start - 16):020}").unlink(missing_ok=True)
            start += 8

    writer = threading.Thread(target=rotate)
    writer.start()
    try:
        offset = 0
        while offset < 8000:
            start, data = folder.read_log(offset, 8)
            if len(data) == 8 and start % 8 == 0:
                assert int.from_bytes(data, "big") == start
            assert start >= offset
            offset = start + len(data)
    finally:
        stop.set()
        writer.join()


# Collecting


def test_collect_moves_and_makes_private(folder: AttemptFolder, kept: Path) -> None:
    (folder.outputs / "deep/er").mkdir(parents=True)
    model = folder.outputs / "deep/er/model"
    model.write_text("weights")
    model.chmod(0o6755)
    unreadable = folder.outputs / "unreadable"
    unreadable.write_text("x")
    unreadable.chmod(0)
    (folder.outputs / "deep").chmod(0)
    os.mkfifo(folder.outputs / "fifo")
    (folder.workspace / "scratch").write_text("x")
    folder.collect(kept)
    folder.collect(kept)
    assert (kept / "deep/er/model").read_text() == "weights"
    assert (kept / "deep/er/model").stat().st_mode & 0o7777 == 0o700
    assert (kept / "unreadable").stat().st_mode & 0o7777 == 0o600
    assert (kept / "deep").stat().st_mode & 0o7777 == 0o700
    assert sorted(path.name for path in kept.iterdir()) == ["deep", "unreadable"]
    assert not folder.outputs.exists()
    assert not folder.workspace.exists()


def test_collected_files_belong_to_the_server(tmp_path: Path) -> None:
    server = os.geteuid()
    task = 1000 if server == 0 else server  # only root can run tasks as somebody else
    folder = AttemptFolder(tmp_path / "tasks/t/attempts/1")
    folder.create(task, task if server == 0 else os.getegid())
    made = folder.outputs / "made"
    made.write_text("x")
    os.chown(made, task, -1)
    folder.collect(tmp_path / "kept")
    owners = {path.stat().st_uid for path in (tmp_path / "kept", tmp_path / "kept/made")}
    assert owners == {server}


def test_collect_follows_no_link(folder: AttemptFolder, kept: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (outside / "file").chmod(0o644)
    (folder.outputs / "to-folder").symlink_to(outside)
    (folder.outputs / "to-file").symlink_to(outside / "file")
    (folder.workspace / "to-folder").symlink_to(outside)
    folder.collect(kept)
    assert (kept / "to-folder").is_symlink()
    assert (outside / "file").stat().st_mode & 0o777 == 0o644


def test_collect_of_outputs_that_are_a_link(
    folder: AttemptFolder, kept: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    folder.outputs.rmdir()
    folder.outputs.symlink_to(outside)
    folder.workspace.rmdir()
    folder.workspace.symlink_to(outside)
    folder.collect(kept)
    assert list(kept.iterdir()) == []
    assert (outside / "file").exists()


def test_collect_replaces_an_earlier_attempt_s(folder: AttemptFolder, kept: Path) -> None:
    kept.mkdir()
    (kept / "old").write_text("x")
    (folder.outputs / "new").write_text("x")
    folder.collect(kept)
    assert [path.name for path in kept.iterdir()] == ["new"]


class Crash(BaseException):
    """The server dies here."""


@pytest.mark.parametrize("step", range(6))
def test_collect_after_a_crash(
    folder: AttemptFolder, kept: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies at each of its changes to names; the next server comes to the same end."""
    kept.mkdir()
    (kept / "old").write_text("x")
    (folder.outputs / "new").write_text("x")
    done = 0

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal done
            if done == step:
                raise Crash
            done += 1
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(untrusted, "remove", dying(untrusted.remove))
        patch.setattr(kept_outputs, "keep", dying(kept_outputs.keep))
        try:
            folder.collect(kept)
        except Crash:
            assert done == step
    folder.collect(kept)
    assert [path.name for path in kept.iterdir()] == ["new"]
    assert [path.name for path in folder.path.iterdir()] == ["run"]


def nest(folder: Path, depth: int) -> None:
    """Far deeper than a path can be long."""
    above = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("folder", dir_fd=above)
        below = os.open("folder", os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)


def test_a_workspace_of_any_depth_is_removed(folder: AttemptFolder, kept: Path) -> None:
    nest(folder.workspace, 1500)
    (folder.workspace / ".removing-0").mkdir()
    folder.collect(kept)
    assert not folder.workspace.exists()


def test_outputs_that_are_too_deep(folder: AttemptFolder, kept: Path) -> None:
    nest(folder.outputs, 200)
    with pytest.raises(CollectError, match="nested more than 100 deep"):
        folder.collect(kept)


def test_outputs_that_can_t_be_moved(folder: AttemptFolder, kept: Path) -> None:
    with pytest.raises(CollectError, match="the outputs could not be kept: No such file"):
        folder.collect(kept.parent / "missing/outputs")
    assert folder.outputs.exists()
