"""The attempt's folder, with files as a shim writes them and as a hostile task may leave them."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.core.model import AttemptEnd
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.attempt_records import Claim, StartRecord


def segment(folder: AttemptFolder, start: int, data: bytes) -> Path:
    path = folder.run / f"log.{start:020}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("record", "node", "gpus"),
    [
        ("node=g1\ngpus=0,13\n", "g1", ("g1:0", "g1:13")),
        ("node=g1\n", "g1", ()),
        ("node=g1\ngpus=\n", "g1", ()),
        ("node=g1\ngpus=1,01,1\n", "g1", ("g1:1",)),
        ("node=../x\ngpus=0\n", None, ()),
        ("node=g1\ngpus=-1\n", "g1", ()),
        ("node=g1\ngpus=" + ",".join(map(str, range(300))), "g1", ()),
        ("node=g1\ngpus=99999\n", "g1", ()),
        ("\0\xff", None, ()),
    ],
)
def test_record_of_the_node_that_a_task_may_have_forged(
    folder: AttemptFolder, record: str, node: str | None, gpus: tuple[str, ...]
) -> None:
    (folder.run / "node").write_text(record)
    assert folder.node() == (node, gpus)


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


def test_control_is_the_servers_whoever_runs_the_task(tmp_path: Path) -> None:
    """Readable in a container, and replaced as a whole."""
    folder = AttemptFolder(tmp_path / "1")
    assert folder.takes_limits(), "it will once it is prepared"
    before = os.umask(0o077)
    try:
        folder.create(os.geteuid() or 1000, os.getegid() or 1000)
        folder.change_limit(5_000)
    finally:
        os.umask(before)
    status, limit = folder.control.stat(), (folder.control / "limit").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), 0o755)
    assert (limit.st_uid, stat.S_IMODE(limit.st_mode)) == (os.geteuid(), 0o644)
    with (folder.control / "limit").open() as earlier:
        folder.change_limit(0)
        assert earlier.read() == "timeout_ms=5000\n"
    assert (folder.control / "limit").read_text() == "timeout_ms=0\n"
    assert [file.name for file in folder.control.iterdir()] == ["limit"]


def test_limit_before_the_attempt_is_prepared_stays(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path / "1")
    folder.change_limit(5_000)
    folder.create(os.geteuid(), os.getegid())
    assert (folder.control / "limit").read_text() == "timeout_ms=5000\n"
    assert folder.takes_limits()


def test_limit_is_written_through_no_link(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path / "1")
    folder.create(os.geteuid(), os.getegid())
    other = tmp_path / "other"
    other.write_text("of the server")
    for name in ("limit", "limit.new"):
        (folder.control / name).symlink_to(other)
    folder.change_limit(5_000)
    assert other.read_text() == "of the server"
    assert (folder.control / "limit").read_text() == "timeout_ms=5000\n"
    (folder.control / "limit").unlink()
    folder.control.rename(tmp_path / "moved")
    folder.control.symlink_to(tmp_path / "moved")
    assert not folder.takes_limits()
    folder.change_limit(6_000)
    assert list((tmp_path / "moved").iterdir()) == []


def test_attempt_of_an_earlier_release_gets_no_control(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path / "1")
    folder.run.mkdir(parents=True)
    folder.create(os.geteuid(), os.getegid())
    folder.change_limit(5_000)
    assert not folder.takes_limits()
    assert not folder.control.exists()


def test_only_an_older_shim_keeps_its_first_limit(tmp_path: Path) -> None:
    """An attempt that is given up, prepared or not, has no control either, but no shim."""
    older = AttemptFolder(tmp_path / "1")
    older.run.mkdir(parents=True)
    assert older.keeps_first_limit()
    for number, is_prepared in ((2, True), (3, False)):
        folder = AttemptFolder(tmp_path / str(number))
        assert not folder.keeps_first_limit()
        if is_prepared:
            folder.create(os.geteuid(), os.getegid())
        assert folder.revoke()
        assert not folder.keeps_first_limit()
        folder.discard()
        assert not folder.takes_limits()
        assert not folder.keeps_first_limit()
        folder.change_limit(5_000)
        assert not folder.control.exists()


def test_unprepared_attempt_is_never_one_of_an_older_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread looks while it is revoked, before there is a claim."""
    folder, seen = AttemptFolder(tmp_path / "1"), list[bool]()
    link = os.link

    def look(source: Path, target: Path) -> None:
        seen.append(folder.keeps_first_limit())
        link(source, target)

    monkeypatch.setattr(os, "link", look)
    assert folder.revoke()
    assert seen == [False]


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


@pytest.mark.parametrize("goes_on", [False, True])
def test_revocation_that_was_cut_off_leaves_nothing(
    folder: AttemptFolder, *, goes_on: bool
) -> None:
    """The server was killed. The next one may let the attempt run, since nothing is claimed."""
    script = "import sys, pathlib; from fetchml.files.attempt_folder import AttemptFolder; "
    script += "AttemptFolder(pathlib.Path(sys.argv[1])).revoke()"
    killed = subprocess.run(
        [sys.executable, "-c", script, folder.path],
        env={"FETCHML_CRASH_AT": "claim_drafted"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert folder.claim() is None
    if goes_on:
        folder.open_gate()
        folder.collect(folder.path.parent / "outputs")
    else:
        folder.discard()
    left = {path.name for path in folder.path.iterdir()}
    assert left == ({"run", "opened"} if goes_on else {"run"})


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
    assert (folder.read_log(0, 1), folder.log_end(), folder.tail()) == ((0, b""), 0, b"")
    segment(folder, 10, b"0123456789")
    segment(folder, 20, b"abc")
    assert (folder.read_log(0, 1)[0], folder.log_end()) == (10, 23)
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
