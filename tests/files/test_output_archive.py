"""Archives of outputs: complete, whatever the files are called, and read by other programs."""

import io
import os
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from fetchml.core.requests.download_names import ArchiveFormat, ArchiveNames
from fetchml.errors import BadRequest, NotFound, Overloaded, RateLimited
from fetchml.files import output_archives
from fetchml.files.output_archives import BY_USER, IN_ALL, OutputArchives
from fetchml.files.task_files import TaskFiles

FORMATS = tuple(ArchiveFormat)


@pytest.fixture
def files(tmp_path: Path) -> TaskFiles:
    files = TaskFiles(tmp_path)
    files.outputs("t").mkdir(parents=True)
    return files


def put(files: TaskFiles, path: str, data: bytes) -> Path:
    file = files.outputs("t") / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


async def archive(files: TaskFiles, form: ArchiveFormat) -> bytes:
    archives = OutputArchives(files)
    paths = await archives.paths("t", "alice")
    return b"".join([piece async for piece in archives.pieces("t", form, paths)])


def content(data: bytes, form: ArchiveFormat) -> dict[str, bytes]:
    if form is ArchiveFormat.ZIP:
        with zipfile.ZipFile(io.BytesIO(data)) as read:
            assert read.testzip() is None
            return {info.filename: read.read(info) for info in read.infolist()}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


@pytest.mark.parametrize("form", FORMATS)
async def test_archive_has_every_file(files: TaskFiles, form: ArchiveFormat) -> None:
    put(files, "a", b"")
    put(files, "deep/er/ü.bin", os.urandom(3 * output_archives.PIECE_BYTES + 1))
    put(files, "long" * 60, b"x" * 511)
    os.utime(put(files, "old", b"o"), (-(10**10), -(10**10)))
    put(files, "run.sh", b"#!").chmod(0o700)
    (files.outputs("t") / "link").symlink_to("/etc/passwd")
    data = await archive(files, form)
    found = content(data, form)
    expected = {
        path.relative_to(files.outputs("t")).as_posix(): path.read_bytes()
        for path in files.outputs("t").rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert found == expected


@pytest.mark.parametrize("form", FORMATS)
async def test_task_without_outputs_has_an_empty_archive(
    tmp_path: Path, form: ArchiveFormat
) -> None:
    assert content(await archive(TaskFiles(tmp_path / "none"), form), form) == {}


async def test_tar_is_read_by_the_program_tar(files: TaskFiles, tmp_path: Path) -> None:
    put(files, "d/a", b"data")
    put(files, "run.sh", b"#!").chmod(0o700)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    data = await archive(files, ArchiveFormat.TAR)
    subprocess.run(["tar", "-x", "-C", str(unpacked)], input=data, check=True)  # noqa: ASYNC221
    assert (unpacked / "d/a").read_bytes() == b"data"
    assert (unpacked / "run.sh").stat().st_mode & stat.S_IXUSR


HOSTILE = [
    "..\\..\\evil.bat", "C:\\evil", "C:evil", "a:stream", "con", "NUL.txt", "aux.tar.gz", "...",
    ".. ", "name.", "bell\x07", "\x1b[31mred", "line\nbreak", "\udcff\udcfe", "\u202etxt.exe",
    '"quoted"', "<script>", "question?", "star*", "pipe|", "\u00ff" * 120, "-rf", "~", "$HOME",
    "e\u0301", "\u00e9", "A", "a", "A~2", "a_b", "a?b", "a*b", "\udcff" * 240,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
async def test_hostile_names_stay_inside_and_apart(files: TaskFiles, form: ArchiveFormat) -> None:
    for number, name in enumerate(HOSTILE):
        put(files, name, str(number).encode())
        put(files, f"{name}.d/{name}", str(number + 1000).encode())
    found = content(await archive(files, form), form)
    assert sorted(found.values()) == sorted(
        str(number + more).encode() for number in range(len(HOSTILE)) for more in (0, 1000)
    )
    assert len({name.casefold() for name in found}) == len(found)
    for name in found:
        assert not name.startswith("/")
        assert not set(name) & set('\\:<>"|?*\u202e')
        assert name.isprintable()
        for part in name.split("/"):
            assert part.rstrip(". ") == part != ""
            assert len(part.encode()) <= 255 + len("~99")
            assert part.partition(".")[0].casefold() not in {"con", "nul", "aux"}


def test_many_equal_names_take_linear_time() -> None:
    names = ArchiveNames()
    given = {names.name(f"a{chr(1 + number % 31)}b") for number in range(20_000)}
    assert len(given) == 20_000


@pytest.mark.parametrize("form", FORMATS)
async def test_file_that_vanishes_breaks_the_archive(files: TaskFiles, form: ArchiveFormat) -> None:
    put(files, "a", b"1")
    archives = OutputArchives(files)
    with pytest.raises(NotFound):
        async for _ in archives.pieces("t", form, ["a", "gone"]):
            pass


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_archive_that_is_left_early_is_closed(files: TaskFiles) -> None:
    put(files, "a", b"x" * (4 * output_archives.PIECE_BYTES))
    before = open_files()
    pieces = OutputArchives(files).pieces("t", ArchiveFormat.ZIP, ["a"])
    await anext(pieces)
    await pieces.aclose()
    assert open_files() <= before


async def test_archives_are_bounded(files: TaskFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_archives, "MAX_OUTPUT_FILES", 3)
    monkeypatch.setattr(output_archives, "MOST_PATH_BYTES", 600)
    archives = OutputArchives(files)
    for name in "abc":
        put(files, name, b"")
    assert await archives.paths("t", "alice") == ["a", "b", "c"]
    put(files, "d", b"")
    with pytest.raises(BadRequest, match="more than 3 output files"):
        await archives.paths("t", "alice")
    for name in "abcd":
        (files.outputs("t") / name).unlink()
    for name in "abc":
        put(files, name * 250, b"")
    with pytest.raises(BadRequest, match="too long"):
        await archives.paths("t", "alice")


def test_archives_at_once_are_bounded(files: TaskFiles) -> None:
    archives = OutputArchives(files)
    users = [f"user-{number // BY_USER}" for number in range(IN_ALL)]
    held = [archives.hold(user) for user in users]
    for each in held:
        each.__enter__()
    with pytest.raises(RateLimited), archives.hold(users[0]):
        pass
    with pytest.raises(Overloaded), archives.hold("another"):
        pass
    for each in held:
        each.__exit__(None, None, None)
    with archives.hold("another"):
        pass
