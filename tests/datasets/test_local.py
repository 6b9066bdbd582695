"""The server's own datasets, and attempts to leave their root."""

import errno
import os
from pathlib import Path

import pytest

from fetchml.core.model import DatasetSpec
from fetchml.ports.launcher import Mount, PrepareError
from tests.datasets.conftest import Box, sha256, task_of


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path)
    (box.root / "mnist").mkdir()
    (box.root / "mnist" / "rows.csv").write_text("1,2")
    (box.root / "mnist" / "inside").symlink_to("rows.csv")
    os.mkfifo(box.root / "fifo")
    (tmp_path / "secret").write_text("s")
    (box.root / "out").symlink_to(tmp_path / "secret")
    (box.root / "up").symlink_to("..")
    (box.root / "loop").symlink_to("loop")
    return box


async def provide(box: Box, *specs: DatasetSpec, names: tuple[str, ...] = ()) -> list[Mount]:
    task = task_of(*specs, datasets=names)
    return list(await (await box.open()).provide(task, box.said.append))


async def test_files_and_folders_are_mounted(box: Box) -> None:
    file = box.root / "mnist" / "rows.csv"
    sources = [
        DatasetSpec(name="a", source="mnist/rows.csv", sha256=sha256(b"1,2")),
        DatasetSpec(name="b", source=str(file)),
        DatasetSpec(source=f"file://{file}", mount_path="/mnt/c"),
        DatasetSpec(name="d", source="mnist/inside"),
        DatasetSpec(name="e", source="mnist"),
        DatasetSpec(name="mnist", mount_path="/mnt/f"),
    ]
    mounts = await provide(box, *sources, names=("mnist", "mnist"))
    assert all(mount.read_only for mount in mounts)
    assert [(mount.target, mount.source) for mount in mounts] == [
        ("/data/mnist", file.parent),
        ("/data/a/rows.csv", file),
        ("/data/b/rows.csv", file),
        ("/mnt/c/rows.csv", file),
        ("/data/d/inside", file),
        ("/data/e", file.parent),
        ("/mnt/f", file.parent),
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("missing", "not found"),
        ("../secret", "not found"),
        ("out", "not found"),
        ("up/secret", "not found"),
        ("loop", "not found"),
        ("/etc/passwd", "not found"),
        ("file:///etc/passwd", "not found"),
        ("file:///%2e%2e/etc/passwd", "not found"),
        ("fifo", "it is neither a file nor a folder"),
        ("/dev/null", "not found"),
    ],
)
async def test_nothing_outside_of_the_root_is_provided(box: Box, source: str, said: str) -> None:
    with pytest.raises(PrepareError) as caught:
        await provide(box, DatasetSpec(name="d", source=source))
    assert str(caught.value) == f"dataset 'd': {said}"
    assert caught.value.permanent


async def test_the_checksum_of_a_local_file_is_verified(box: Box) -> None:
    spec = DatasetSpec(name="d", source="mnist/rows.csv", sha256="f" * 64)
    with pytest.raises(PrepareError, match=f"got {sha256(b'1,2')}, expected {'f' * 64}"):
        await provide(box, spec)
    folder = DatasetSpec(name="d", source="mnist", sha256="f" * 64)
    with pytest.raises(PrepareError, match="a folder has no SHA-256"):
        await provide(box, folder)


async def test_a_changed_local_file_is_hashed_again(box: Box) -> None:
    spec = DatasetSpec(name="d", source="mnist/rows.csv", sha256=sha256(b"1,2"))
    datasets = await box.open()
    for _ in range(2):
        await datasets.provide(task_of(spec), box.said.append)
    assert box.said == ["checking rows.csv: 3 bytes"]
    (box.root / "mnist" / "rows.csv").write_text("3,4")
    with pytest.raises(PrepareError, match="SHA-256 mismatch"):
        await datasets.provide(task_of(spec), box.said.append)


async def test_an_unreadable_file_is_reported(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read all, so the system's answer is given here."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    datasets = await box.open()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PrepareError) as error:
        await datasets.provide(
            task_of(DatasetSpec(name="a", source="mnist/rows.csv", sha256="a" * 64)),
            box.said.append,
        )
    assert str(error.value) == "dataset 'a': cannot read it: Permission denied"
