"""Records of what attempts use on nodes, and of their GPUs there, which a task can forge."""

from pathlib import Path

import pytest

from fetchml.adapters.slurm import measurements
from fetchml.adapters.slurm.measurements import NodeGpus, NodeUsage
from fetchml.core.gpus.health import GpuReading
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.gpu_record import GpuMeasurement, read_gpus
from fetchml.files.shared_disk import SharedDisk
from fetchml.ports.cluster import NodeReading
from fetchml.ports.launcher import LaunchSpec, ResourceUse
from tests.support.waiting import until_true

RECORD = "at_ms=1760000000000\ngpu1=87,4000,81559,60,350,91\ngpu3=-,-,-,-,-\n"
"""The second line is as older releases wrote it."""
GPUS = [
    GpuReading(
        "g1:1",
        index="1",
        memory_mb=81559,
        used_mb=4000,
        temperature_c=60,
        utilisation_percent=87,
        task_use={"t": 91},
        power_w=350,
    ),
    GpuReading("g1:3", index="3"),
]
READ = NodeReading("at_ms=1760000000000", GPUS)


def run_folder(shared: Path, task_id: str = "t") -> Path:
    folder = shared / f"tasks/{task_id}/attempts/1/run"
    folder.mkdir(parents=True)
    (folder / "node").write_text("node=g1\ngpus=1,3\n")
    return folder


async def test_records_are_read_after_a_question(tmp_path: Path) -> None:
    gpus = NodeGpus(SharedDisk(), tmp_path, pause_seconds=0)
    run_folder(tmp_path, "none")
    (run_folder(tmp_path) / "gpus").write_text(RECORD)
    asked = [("t", 1), ("none", 1), ("missing", 2)]
    assert gpus.newest(asked) == {}
    await until_true(lambda: gpus.newest(asked) == {("t", 1): READ})
    assert gpus.newest([]) == {}
    await gpus.close()


async def test_record_that_nobody_renews_is_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus, record = NodeGpus(SharedDisk(), tmp_path, pause_seconds=0), run_folder(tmp_path) / "gpus"
    record.write_text(RECORD)
    await until_true(lambda: gpus.newest([("t", 1)]) != {})
    monkeypatch.setattr(measurements, "STALE_SECONDS", 0.3)
    await until_true(lambda: gpus.newest([("t", 1)]) == {})
    monkeypatch.setattr(measurements, "STALE_SECONDS", 60)
    record.write_text(RECORD.replace("=1760", "=1761"))
    renewed = NodeReading("at_ms=1761000000000", GPUS)
    await until_true(lambda: gpus.newest([("t", 1)]) == {("t", 1): renewed})
    await gpus.close()


async def test_many_are_read_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = NodeGpus(SharedDisk(), tmp_path, pause_seconds=0)
    asked = [(str(number), 1) for number in range(5)]
    for task_id, _ in asked:
        (run_folder(tmp_path, task_id) / "gpus").write_text(RECORD)
    monkeypatch.setattr(measurements, "MOST_RECORDS", 2)
    await until_true(lambda: len(gpus.newest(asked)) == 5)
    await gpus.close()


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("", None),
        ("gpu0=1,1,1,1,1\n", None),
        ("at_ms=" + "9" * 100_000, None),
        ("at_ms=1\ngpu0=1,1,1,1\ngpu1=1,1,1,1,-1\ngpu2=\u0661,1,1,1,1\n\0" + "x" * 9_000, {}),
        ("at_ms=1\ngpu0=101,9999999999,1,1,1\n", {}),
        ("at_ms=1\ngpu0=101,1,1,1,1\n", {0: GpuMeasurement(None, 1, 1, 1, 1)}),
        ("at_ms=1\ngpu0=1,1,1,1,1,101\n", {0: GpuMeasurement(None, 1, 1, 1, 1, None)}),
        ("at_ms=1\ngpu0=1,1,1,1,1,1,1\ngpu1=1,1,1,1,1,\n", {}),
    ],
)
def test_forged_record(tmp_path: Path, text: str, gpus: dict[int, GpuMeasurement] | None) -> None:
    (tmp_path / "gpus").write_text(text)
    found = read_gpus(tmp_path)
    assert (None if found is None else found.gpus) == gpus


def test_number_of_gpus_in_a_record_is_bounded(tmp_path: Path) -> None:
    lines = "".join(f"gpu{number}=-,-,-,-,-\n" for number in range(500))
    (tmp_path / "gpus").write_text("at_ms=1\n" + lines)
    found = read_gpus(tmp_path)
    assert found is not None
    assert len(found.gpus) == 64


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_record_is_not_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "other").write_text(RECORD)
    if kind == "link":
        (tmp_path / "gpus").symlink_to(tmp_path / "other")
    else:
        (tmp_path / "gpus").mkdir()
    assert read_gpus(tmp_path) is None


USAGE_RECORD = "at_ms=1760000000000\ncpu_ms=1500\nmemory_kb=2048\nread_kb=3\nwrite_kb=4\n"


def spec(folder: Path) -> LaunchSpec:
    (folder / "run").mkdir(parents=True)
    return LaunchSpec(folder.name, 1, "job", folder, "", (), {})


async def test_usage_is_read_after_a_call(tmp_path: Path) -> None:
    usage, runs = NodeUsage(SharedDisk()), [spec(tmp_path / name) for name in ("a", "b")]
    (runs[0].folder / "run/usage").write_text(USAGE_RECORD)
    assert usage.newest(runs) == [None, None]
    expected = ResourceUse(1500, 2048, 3, 4, at_ms=1_760_000_000_000)
    await until_true(lambda: usage.newest(runs) == [expected, None])
    assert usage.newest([]) == []
    await usage.close()


async def test_usage_of_many_is_read_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, runs = NodeUsage(SharedDisk()), [spec(tmp_path / str(n)) for n in range(5)]
    for run in runs:
        (run.folder / "run/usage").write_text(USAGE_RECORD)
    monkeypatch.setattr(measurements, "MOST_RECORDS", 2)
    await until_true(lambda: all(usage.newest(runs)))
    await usage.close()


def test_forged_record_of_usage_is_left_out(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path)
    folder.run.mkdir()
    file = folder.run / "usage"
    for text in ("", "cpu_ms=-1", USAGE_RECORD.replace("1500", "9" * 30), "at_ms=1\n", "\0" * 100):
        file.write_text(text)
        assert folder.usage() is None, text
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert folder.usage() is None
