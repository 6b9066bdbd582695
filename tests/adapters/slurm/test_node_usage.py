"""Records of what attempts use on nodes, which a task can forge."""

from pathlib import Path

import pytest

from fetchml.adapters.slurm import measurements
from fetchml.adapters.slurm.measurements import NodeUsage
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.launcher import LaunchSpec, ResourceUse
from tests.support.waiting import until_true

RECORD = "at_ms=1760000000000\ncpu_ms=1500\nmemory_kb=2048\nread_kb=3\nwrite_kb=4\n"


def spec(folder: Path) -> LaunchSpec:
    (folder / "run").mkdir(parents=True)
    return LaunchSpec(folder.name, 1, "job", folder, "", (), {})


async def test_records_are_read_after_a_question(tmp_path: Path) -> None:
    usage, runs = NodeUsage(SharedDisk()), [spec(tmp_path / name) for name in ("a", "b")]
    (runs[0].folder / "run/usage").write_text(RECORD)
    assert usage.newest(runs) == [None, None]
    expected = ResourceUse(1500, 2048, 3, 4, at_ms=1_760_000_000_000)
    await until_true(lambda: usage.newest(runs) == [expected, None])
    assert usage.newest([]) == []
    await usage.close()


async def test_many_are_read_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, runs = NodeUsage(SharedDisk()), [spec(tmp_path / str(n)) for n in range(5)]
    for run in runs:
        (run.folder / "run/usage").write_text(RECORD)
    monkeypatch.setattr(measurements, "MOST_RECORDS", 2)
    await until_true(lambda: all(usage.newest(runs)))
    await usage.close()


def test_forged_record_is_left_out(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path)
    folder.run.mkdir()
    file = folder.run / "usage"
    for text in ("", "cpu_ms=-1", RECORD.replace("1500", "9" * 30), "at_ms=1\n", "\0" * 100):
        file.write_text(text)
        assert folder.usage() is None, text
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert folder.usage() is None
