"""Unpacking of archives, sound and hostile ones."""

import gzip
import hashlib
import os
import stat
import subprocess
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.core.snapshots import Entry, EntryKind, entries_of, id_of, manifest
from fetchml.snapshots.unpack import RefusedArchive, UnpackLimits, UnreadableArchive, unpack
from tests.support.archives import Member, file, folder, hard_link, link, packed, special

LIMITS = UnpackLimits(max_bytes=100_000, max_files=20)


def unpacked(data: bytes, tmp_path: Path, limits: UnpackLimits = LIMITS) -> list[Entry]:
    (tmp_path / "archive").write_bytes(data)
    return unpack(tmp_path / "archive", tmp_path / "tree", limits, lambda: None)


def test_a_tree_is_unpacked_as_it_was_packed(tmp_path: Path) -> None:
    entries = unpacked(
        packed(
            folder("."),
            file("./train.py", b"print(1)\n", mode=0o4755),
            file("./data/a b\n.txt", b"x" * 50_000),
            folder("./empty"),
            link("./data/up", "../train.py"),
            link("./dangling", "no/such"),
            hard_link("./again.py", "./train.py"),
        ),
        tmp_path,
    )
    tree = tmp_path / "tree"
    assert (tree / "train.py").read_bytes() == b"print(1)\n"
    assert stat.S_IMODE((tree / "train.py").stat().st_mode) == 0o700, "no setuid"
    assert stat.S_IMODE((tree / "data/a b\n.txt").stat().st_mode) == 0o600
    assert (tree / "data/a b\n.txt").read_bytes() == b"x" * 50_000
    assert (tree / "data/up").readlink() == Path("../train.py")
    assert (tree / "again.py").read_bytes() == b"print(1)\n"
    assert (tree / "again.py").stat().st_nlink == 1
    assert {entry.path: entry.kind for entry in entries} == {
        "train.py": "executable",
        "data": "folder",
        "data/a b\n.txt": "file",
        "empty": "folder",
        "data/up": "link",
        "dangling": "link",
        "again.py": "executable",
    }


def test_the_id_depends_on_the_tree_alone(tmp_path: Path) -> None:
    """Order, times, owners, the packer's options and named folders make no difference."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    old, content = file("src/x.py", b"1", mode=0o100)
    old.mtime, old.uid, old.uname = 12, 99, "ada"
    trees = [
        packed(file("src/x.py", b"1", mode=0o777), link("y", "src")),
        packed(folder("./src/"), link("y", "src"), (old, content)),
        packed(file("src/x.py", b"1", mode=0o666), link("y", "src")),
    ]
    ids = [
        id_of(manifest(unpacked(data, tmp_path / name)))
        for data, name in zip(trees, ("a", "b", "c"), strict=True)
    ]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2], "the right to execute counts"
    by_hand = (
        "fetchml snapshot 1\n"
        "src\0folder\0000\0\0"
        f"src/x.py\0executable\0001\0{hashlib.sha256(b'1').hexdigest()}\0"
        "y\0link\0000\0src\0"
    )
    assert ids[0] == hashlib.sha256(by_hand.encode()).hexdigest()


HOSTILE: dict[str, tuple[list[Member], str]] = {
    "absolute": ([file("/etc/passwd", b"x")], "absolute"),
    "up": ([file("../x", b"x")], r"\.\."),
    "up within": ([file("a/../../x", b"x")], r"\.\."),
    "dots": ([file("a/./x", b"x")], "empty part"),
    "link out": ([link("a", "../x")], "does not stay inside"),
    "link out from below": ([folder("a/b"), link("a/b/c", "../../../x")], "does not stay inside"),
    "absolute link": ([link("a", "/etc")], "does not stay inside"),
    "link over a link": ([link("d", "x/y"), link("e", "d/../z")], "does not stay inside"),
    "empty link": ([link("a", "")], "does not stay inside"),
    "write through a link": ([link("a", "b"), file("a/x", b"x")], "is a link and a folder"),
    "folder over a link": ([link("a", "b"), folder("a")], "is a link and a folder"),
    "file over a link": ([link("a", "b"), file("a", b"x")], "twice"),
    "twice": ([file("a", b"x"), file("a", b"y")], "twice"),
    "below a file": ([file("a", b"x"), file("a/b", b"x")], "is a file and a folder"),
    "hard link out": ([hard_link("a", "/etc/passwd")], "hard link"),
    "hard link up": ([hard_link("a", "../archive")], "hard link"),
    "hard link to a link": ([link("a", "b"), hard_link("c", "a")], "hard link"),
    "device": ([special("a", tarfile.CHRTYPE)], "not a file, folder or link"),
    "block device": ([special("a", tarfile.BLKTYPE)], "not a file, folder or link"),
    "fifo": ([special("a", tarfile.FIFOTYPE)], "not a file, folder or link"),
    "not utf-8": ([file("a\udcff", b"x")], "not UTF-8"),
    "link not utf-8": ([link("a", "b\udcff")], "not UTF-8"),
    "deep": ([file("a/" * 64 + "a", b"x")], "64 folders deep"),
    "long name": ([file("a" * 256, b"x")], "name of over 255"),
    "too many": ([file(str(n)) for n in range(21)], "limit of 20 files"),
    "too many folders": ([file("/".join("abcdefghijklmnopqrstuv"))], "limit of 20 files"),
    "too large": ([file("a", b"x" * 60_000), file("b", b"x" * 60_000)], "larger than 100000"),
    "large by links": (
        [file("a", b"x" * 60_000), hard_link("b", "a")],
        "larger than 100000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_rejected(case: str, tmp_path: Path) -> None:
    members, told = HOSTILE[case]
    before = set(tmp_path.parent.iterdir())
    with pytest.raises(RefusedArchive, match=told):
        unpacked(packed(*members), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "tree"}
    assert set(tmp_path.parent.iterdir()) == before
    written = sum(path.lstat().st_size for path in (tmp_path / "tree").rglob("*") if path.is_file())
    assert written <= LIMITS.max_bytes


def header(name: str, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def endless_headers() -> bytes:
    pax = b"30 comment=aaaaaaaaaaaaaaaaaaa\n".ljust(512, b"\0")
    return (header("x", tarfile.XHDTYPE, 30) + pax) * 5_000


@pytest.mark.parametrize(
    "plain",
    [
        lambda: header("x", tarfile.XHDTYPE, 1 << 30) + bytes(1 << 24),
        lambda: header("x", tarfile.GNUTYPE_LONGNAME, 1 << 30) + bytes(1 << 24),
        endless_headers,
        lambda: bytes(1 << 26),
        lambda: header("a", tarfile.REGTYPE, 8**11 - 1),
        lambda: header("a", tarfile.GNUTYPE_SPARSE, 1 << 40) + bytes(1 << 20),
    ],
    ids=["long pax header", "long name", "headers that never end", "zeros", "8 GiB", "sparse"],
)  # fmt: skip
def test_archive_bombs_are_rejected(plain: Callable[[], bytes], tmp_path: Path) -> None:
    data = gzip.compress(plain(), 1)
    tracemalloc.start()
    try:
        with pytest.raises((RefusedArchive, UnreadableArchive)):
            unpacked(data, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_malformed_and_truncated_archives_are_rejected(tmp_path: Path) -> None:
    good = packed(file("a", os.urandom(20_000)), file("b", os.urandom(20_000)))
    damaged = bytearray(good)
    damaged[len(good) // 4] ^= 1  # in the middle of a file
    plain_tar = gzip.decompress(good)
    cases = [b"", b"PK\3\4 a zip", plain_tar, gzip.compress(b"no tar"), bytes(damaged)]
    cases += [good[:n] for n in (5, 100, 20_000, len(good) - 1)]
    cases += [gzip.compress(plain_tar[:25_000]), good + b"junk"]
    for number, data in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(UnreadableArchive):
            unpacked(data, tmp_path / str(number))


def test_unpacking_stops_when_its_check_raises(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(packed(*(file(str(n)) for n in range(20))))
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        unpack(tmp_path / "archive", tmp_path / "tree", LIMITS, check)
    assert len(list((tmp_path / "tree").iterdir())) < 6


def test_the_manifest_can_be_read_back() -> None:
    entries = [
        Entry("b/c", EntryKind.EXECUTABLE, 3, "ab" * 32),
        Entry("b-", EntryKind.LINK, content="b"),
        Entry("\u00e4\n", EntryKind.FILE, 0, "cd" * 32),
    ]
    data = manifest(entries)
    assert [entry.path for entry in entries_of(data)] == ["b", "b-", "b/c", "\u00e4\n"]
    assert set(entries_of(data)) == {*entries, Entry("b", EntryKind.FOLDER)}
    with pytest.raises(ValueError, match="twice"):
        manifest([entries[0], entries[0]])


def pax_header(data: bytes) -> bytes:
    return header("x", tarfile.XHDTYPE, len(data)) + data + bytes(-len(data) % 512)


def sparse(blocks: int) -> bytes:
    """A file with a map of many holes, in the old way of GNU tar."""
    first = bytearray(header("a", tarfile.GNUTYPE_SPARSE, 0))
    first[257:265] = b"ustar  \0"
    first[482] = 1  # more of the map follows
    first[148:156] = b"%06o\0 " % (sum(first[:148]) + 8 * 32 + sum(first[156:]))
    return bytes(first) + (b"00000000001\0" * 42 + b"\1" + bytes(7)) * blocks


@pytest.mark.parametrize(
    "plain",
    [
        pax_header(b"1" * 200_000),
        pax_header(b"1" * 200_000 + b" a=b\n"),
        pax_header(b"1 " * 100_000),
        pax_header(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n")
        + header("a", tarfile.REGTYPE, 40_000_012)
        + b"20000000\n"
        + b"0\n" * 20_000_000,
        sparse(100_000),
        sparse(2) + b"x" * 100,
    ],
    ids=["digits", "a long length", "many numbers", "sparse map", "old sparse map", "cut in a map"],
)
def test_no_header_takes_much_time_or_memory(plain: bytes, tmp_path: Path) -> None:
    """Each of these kept Python's reader busy for minutes, took gigabytes, or made it raise what
    nobody expects."""
    limits = UnpackLimits(max_bytes=1 << 30, max_files=20)
    data = gzip.compress(plain, 1)
    begun = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises((RefusedArchive, UnreadableArchive)):
            unpacked(data, tmp_path, limits)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 20


def test_a_tar_file_truncated_anywhere_is_rejected(tmp_path: Path) -> None:
    """A packer that was killed leaves one, and gzip behind it ends it as if it were whole."""
    plain = gzip.decompress(packed(file("a", b"x" * 600), folder("b"), file("c", b"")))
    whole = 512 + 1024 + 512 + 512 + 512
    for size in (*range(0, whole, 256), whole - 1):
        place = tmp_path / str(size)
        place.mkdir()
        with pytest.raises(UnreadableArchive):
            unpacked(gzip.compress(plain[:size], 1), place)
    entries = unpacked(gzip.compress(plain[:whole], 1), tmp_path)
    assert [entry.path for entry in entries] == ["a", "b", "c"]
    broken = plain[: 512 + 1024] + b"Z" * 512 + plain[512 + 1024 + 512 :]
    place = tmp_path / "broken"
    place.mkdir()
    with pytest.raises(UnreadableArchive):
        unpacked(gzip.compress(broken, 1), place)


@pytest.mark.parametrize("form", ["gnu", "oldgnu", "pax", "posix", "ustar", "v7"])
def test_archives_of_gnu_tar_are_unpacked(form: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    longest = 90 if form in ("ustar", "v7") else 200
    name = "ä" if form != "v7" else "a"
    deep = f"{name}/{'n' * longest}"
    (root / name).mkdir(parents=True)
    (root / deep).write_bytes(b"deep")
    (root / "a b").write_bytes(b"x" * 1000)
    (root / "a b").chmod(0o755)
    (root / "hard").hardlink_to(root / "a b")
    (root / "link").symlink_to(deep)
    done = subprocess.run(
        ["tar", "-cz", f"--format={form}", "-C", root, "."], check=True, capture_output=True
    )
    entries = {entry.path: entry for entry in unpacked(done.stdout, tmp_path)}
    assert entries.keys() == {name, deep, "a b", "hard", "link"}
    assert (tmp_path / "tree" / deep).read_bytes() == b"deep"
    assert entries["link"].content == deep
    assert entries["hard"][1:] == entries["a b"][1:]


def test_archives_of_git_are_unpacked(tmp_path: Path) -> None:
    """It begins with a header for all members, which has the commit."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "file").write_text("x")
    for arguments in (["init", "-q"], ["add", "file"], [*who, "commit", "-q", "-m", "1"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    archive = ["git", "archive", "--format=tar.gz", "HEAD"]
    done = subprocess.run(archive, cwd=tmp_path, check=True, capture_output=True)
    assert [entry.path for entry in unpacked(done.stdout, tmp_path)] == ["file"]
