"""Use of GPUs by process, as the stand-in for NVIDIA's library reports it."""

import os

from fetchml.adapters.nvml.session import NvmlSession
from fetchml.core.gpus.allocator import UNOWNED
from fetchml.core.gpus.health import GpuReading
from testbed.gpu.stand_in import GpuBox, gpu, mig, uuid

OWNERS = {1: "first", 2: "second"}


def read(session: NvmlSession) -> list[GpuReading]:
    return [session.read(device, OWNERS.get) for device in session.devices().devices]


def test_use_is_reported_by_task_and_once(gpu_box: GpuBox) -> None:
    gpus = gpu(0, use=40), gpu(1), gpu(2, by_process=0, use=7)
    samples = [
        f"uses {uuid(0)} 1 30",
        f"uses {uuid(0)} 1 70",
        f"uses {uuid(0)} 2 0",
        f"uses {uuid(0)} {os.getpid()} 9",
    ]
    gpu_box.set(*gpus, *samples)
    session = NvmlSession(lambda _: None, lambda: None)
    try:
        first, second, third = read(session)
        assert first.task_use == {"first": 70, "second": 1, UNOWNED: 9}, "copies count too"
        assert (second.task_use, third.task_use) == ({}, None)
        assert third.utilisation_percent == 7
        assert [each.task_use for each in read(session)] == [{}, {}, None], "samples are read once"
        gpu_box.set(*gpus, *samples, f"uses {uuid(0)} 2 55")
        assert read(session)[0].task_use == {"second": 55}
    finally:
        session.close()


def test_mig_devices_have_no_use(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, mig=1), mig(1, 0, by_process=0))
    session = NvmlSession(lambda _: None, lambda: None)
    try:
        (part,) = read(session)
        assert (part.utilisation_percent, part.task_use) == (None, None)
    finally:
        session.close()
