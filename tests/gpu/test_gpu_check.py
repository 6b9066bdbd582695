"""`make gpu-check` without a GPU, and on a machine with simulated ones."""

import os
import sys
from pathlib import Path

import pytest

from testbed.gpu.stand_in import LIBRARIES, GpuBox, build, gpu, process, uuid
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
    checked = [line.split(": ")[0] for line in out.splitlines() if line.startswith("ok ")]
    assert checked == [
        "ok     a GPU is free to check the rest on",
        "ok     a task without GPUs sees none",
        "ok     a task sees its GPU and no other",
        "ok     a task sees its GPU and no other",
        "ok     a task with two GPUs sees these two",
        "ok     a task's process is known as the task's",
        "ok     a GPU that its task has not left is not given out",
        "ok     it is free when the task's processes are gone",
        "ok     a program that is no task of ours makes the GPU busy",
        "ok     and it is free when that has ended",
    ]


def test_memory_that_does_not_come_back_is_a_failure(gpu_box: GpuBox) -> None:
    """What a program takes is charged to a process that stays."""
    with process() as pid:
        for library in LIBRARIES.values():
            (gpu_box.folder / library).unlink()  # others map it: it is not to be written over
        build(gpu_box.folder, f"-DOWNER={pid}")
        gpu_box.set(gpu(0))
        code, out = check(gpu_box.environment)
    assert code == 1
    assert "FAILED it is free when the task's processes are gone: busy: python3" in out


def test_gpu_in_use_fails_the_check(gpu_box: GpuBox) -> None:
    with process("trainer") as pid:
        gpu_box.set(gpu(0), f"process {uuid(0)} {pid} 9000")
        code, out = check(gpu_box.environment)
    assert code == 1
    assert f"busy: trainer (pid {pid}, 8.8 GiB)" in out
    assert out.splitlines()[-1] == "FAILED a GPU is free to check the rest on"


def test_make_target_runs_the_check(gpu_box: GpuBox) -> None:
    gpu_box.set(driver=None)
    done = ran(
        ["make", "--no-print-directory", "gpu-check"],
        cwd=CHECK.parents[1],
        env=os.environ | gpu_box.environment,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout.startswith("There is no NVIDIA GPU")) == (0, True)
