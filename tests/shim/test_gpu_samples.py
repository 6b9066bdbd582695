"""The helper that measures an attempt's GPUs on a node, with a stand-in for NVIDIA's library."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fetchml.files.gpu_record import GpuMeasurement, GpuRecord, read_gpus
from fetchml.shim import gpu_samples
from testbed.gpu.stand_in import GpuBox, gpu
from tests.shim.attempt import SHIM, Attempt, gone
from tests.support.waiting import SECONDS, wait_until


def start(attempt: Attempt, *, gpus: str, **variables: str) -> "subprocess.Popen[bytes]":
    (attempt.folder / "node").write_text(f"node=g1\ngpus={gpus}\n")
    argv = [SHIM, "--dir", str(attempt.folder), "--segment-bytes", "1000", "--grace-ms", "1000"]
    argv += ["--sampler", gpu_samples.__file__, "--", "sleep", str(SECONDS)]
    return subprocess.Popen(argv, env={"PATH": os.environ["PATH"], **variables})


def helpers(shim: "subprocess.Popen[bytes]") -> list[int]:
    pids = Path(f"/proc/{shim.pid}/task/{shim.pid}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids}
    return [pid for pid, command in commands.items() if b"gpu_samples" in command]


def test_own_gpus_are_measured_until_the_command_ends(tmp_path: Path, gpu_box: GpuBox) -> None:
    gpu_box.set(
        gpu(0, use=11),
        gpu(1, use=87, used=4000, temp=60, power=350_999),
        gpu(2, use=None, temp=None, power=None),
    )
    attempt = Attempt(tmp_path)
    shim = start(attempt, gpus="1,2,7", LD_LIBRARY_PATH=str(gpu_box.folder))
    try:
        found = wait_until(lambda: read_gpus(attempt.folder), "a record")
        assert isinstance(found, GpuRecord)
        assert found.gpus == {
            1: GpuMeasurement(87, 4000, 81559, 60, 350, 87),
            2: GpuMeasurement(None, 4, 81559, None, None),
        }
        [helper] = helpers(shim)
    finally:
        shim.terminate()
        shim.wait(SECONDS)
    assert gone(helper)
    assert sorted(attempt.folder.glob("gpus.*")) == []


def test_node_without_a_driver(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    shim = start(attempt, gpus="0", LD_LIBRARY_PATH="/nowhere")
    try:
        wait_until((attempt.folder / "started").exists, "the command runs")
        wait_until(lambda: not helpers(shim), "the helper has ended")
        assert shim.poll() is None
        assert read_gpus(attempt.folder) is None
    finally:
        shim.terminate()
        shim.wait(SECONDS)


def test_record_has_the_highest_use_since_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uses = iter([3, 90, None, 4])

    class Driver:
        def devices(self) -> dict[int, str]:
            return {1: "device"}

        def utilisation(self, device: object) -> int | None:
            return next(uses)

        def measure(self, device: object) -> list[int | None]:
            return [4, 4000, 81559, 60, 350]

    nvml: Any = Driver()
    peaks: dict[int, int] = {}
    for _ in range(4):
        gpu_samples.sample(nvml, [0, 1], peaks)
    folder = os.open(tmp_path, os.O_DIRECTORY)
    try:
        monkeypatch.setattr(gpu_samples, "RUN", folder)
        gpu_samples.write(nvml, [0, 1], peaks)
    finally:
        os.close(folder)
    found = read_gpus(tmp_path)
    assert found is not None
    assert found.gpus == {1: GpuMeasurement(4, 4000, 81559, 60, 350, 90)}
