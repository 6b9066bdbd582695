"""`make gpu-check` without a GPU, and on a machine with simulated ones."""

import sys
from pathlib import Path

import pytest

from testbed.gpu.stand_in import GpuBox, gpu, process, uuid
from tests.support.commands import ran
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.slow

CHECK = Path(__file__).parents[2] / "build/gpu_check.py"


def check(environment: dict[str, str] | None = None) -> tuple[int, str]:
    done = ran([sys.executable, CHECK], env=environment, timeout=SECONDS)
    return done.returncode, done.stdout + done.stderr


def test_missing_gpu_is_reported_and_nothing_claimed(gpu_box: GpuBox) -> None:
    gpu_box.set(driver=None)
    code, out = check(gpu_box.environment)
    assert code == 0
    assert out == (
        "There is no NVIDIA GPU to check here: NVIDIA's driver is not loaded. Nothing was "
        "checked.\n"
    )


def test_all_checks_pass(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0), gpu(1))
    code, out = check(gpu_box.environment)
    assert code == 0, out
    assert "FAILED" not in out
    assert out.count("\nok ") > 8


def test_gpu_in_use_fails_the_check(gpu_box: GpuBox) -> None:
    with process("trainer") as pid:
        gpu_box.set(gpu(0), f"process {uuid(0)} {pid} 9000")
        code, out = check(gpu_box.environment)
    assert code == 1
    assert f"busy: trainer (pid {pid}, 8.8 GiB)" in out
    assert out.splitlines()[-1] == "FAILED a GPU is free to check the rest on"
