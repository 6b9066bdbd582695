"""A driver that is unloaded, replaced, silent or missing."""

import asyncio

import pynvml
import pytest

from fetchml.ports.gpu import GpuState
from testbed.gpu.stand_in import GpuBox, gpu, uuid
from tests.support.gpu_watch import UNSEEN, text, watched
from tests.support.waiting import soon


async def test_a_driver_that_is_unloaded_and_comes_back(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0))
    async with watched(every=0.05) as box:
        gpu_box.add(f"xid {uuid(0)} 119")
        await box.until(lambda state: state.gpus[0].blocked is not None)
        gpu_box.set(gpu(0), driver=None)
        state = await box.until(lambda state: state.problem is not None)
        assert state.problem == "NVIDIA's driver is not loaded"
        assert text(state.gpus[0]) == "lost: NVIDIA's driver is no longer loaded"
        gpu_box.set(gpu(0), driver="580.1", generation=1)
        state = await box.until(lambda state: state.problem is None)
        assert (state.driver, state.gpus[0].blocked) == ("580.1", None)
        gpu_box.add(f"xid {uuid(0)} 79")
        await box.until(lambda state: state.gpus[0].lost)


async def test_a_driver_that_is_exchanged_between_two_looks(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0))
    async with watched() as box:
        gpu_box.set(gpu(0), driver="580.1", generation=1)
        assert await box.blocked() is None
        assert box.inventory.state.driver == "580.1"


async def test_a_gpu_that_a_new_driver_can_not_name_is_not_lost(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0), gpu(1))
    async with watched() as box:
        gpu_box.set(gpu(0), gpu(1, error=999), generation=1)
        well, nameless = await box.gpus()
        assert (well.blocked, nameless.lost) == (None, False)
        assert text(nameless) == "unknown: the driver does not report its UUID"
        found = await soon(box.inventory.check([uuid(1)]))
        assert found == {uuid(1): UNSEEN}
        gpu_box.set(gpu(0), gpu(1), generation=1)
        assert [each.blocked for each in await box.gpus()] == [None, None]
        gpu_box.set(gpu(0), generation=1)
        assert [each.lost for each in await box.gpus()] == [False, True]
        gpu_box.set(gpu(0), gpu(2, error=999), generation=2)
        assert [each.lost for each in await box.gpus()] == [False, True], "what is lost stays so"


async def test_a_driver_that_hangs_blocks_gpus_and_nothing_else(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0))
    async with watched(silent=0.2) as box:
        gpu_box.add("hang")
        refreshing = asyncio.create_task(box.inventory.refresh())
        state = await box.until(lambda state: state.problem is not None)
        assert text(state.gpus[0]) == "unknown: no response from the NVIDIA driver"
        assert not state.gpus[0].lost
        assert await soon(box.inventory.check([uuid(0)])) == {uuid(0): state.gpus[0].blocked}
        gpu_box.set(gpu(0))
        await soon(refreshing)
        await box.until(lambda state: state.problem is None and not state.gpus[0].blocked)


async def test_a_library_without_a_driver(gpu_box: GpuBox) -> None:
    gpu_box.set(driver=None)
    async with watched() as box:
        (state,) = box.told
        assert state == GpuState(problem="NVIDIA's driver is not loaded")


async def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: str) -> None:
        raise OSError("no such file")

    monkeypatch.setattr(pynvml, "CDLL", nothing)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    async with watched() as box:
        assert box.told == [GpuState(problem="no NVIDIA driver")]
        assert await soon(box.inventory.check([])) == {}
