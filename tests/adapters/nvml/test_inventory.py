"""The inventory over a stand-in for NVIDIA's library, loaded by NVIDIA's own binding."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fetchml.adapters.nvml.inventory import NvmlInventory
from fetchml.core.gpus.allocator import Gpu, Obstacle, ObstacleKind
from fetchml.core.gpus.health import GpuProcess
from testbed.gpu.stand_in import GpuBox, end, gpu, mig, process, uuid
from tests.support.gpu_watch import UNSEEN, text, watched
from tests.support.waiting import SECONDS, soon, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_all_facts_of_eight_gpus(gpu_box: GpuBox) -> None:
    gpu_box.set(*(gpu(n, used=500, use=7, power=250_900) for n in range(8)))
    async with watched() as box:
        (state,) = box.told
        assert (state.driver, state.problem, state.notes) == ("570.86.10", None, ())
        assert [g.uuid for g in state.gpus] == [uuid(n) for n in range(8)]
        assert [g.position for g in state.gpus] == list(range(8))
        assert state.gpus[3] == Gpu(uuid(3), "NVIDIA H100 80GB HBM3", 81559, position=3)
        third = state.readings[3]
        assert (third.index, third.minor, third.bus) == ("3", 3, "00000000:13:00.0")
        assert (third.used_mb, third.temperature_c, third.utilisation_percent) == (500, 33, 7)
        assert (third.uncorrected_errors, third.recovery_action) == (0, 0)
        assert third.power_w == 250


async def test_values_that_a_gpu_does_not_report_are_none(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, temp=None, ecc=None, action=None, use=None, minor=None, mig=None))
    async with watched() as box:
        (reading,) = box.inventory.state.readings
        assert (reading.temperature_c, reading.uncorrected_errors, reading.minor) == (None,) * 3
        assert reading.power_w is None
        assert await box.blocked() is None


async def test_a_foreign_process_blocks_while_it_lives(gpu_box: GpuBox) -> None:
    async with watched() as box:
        with process("trainer") as pid:
            gpu_box.set(gpu(0), f"process {uuid(0)} {pid} 2150", gpu(1))
            first, second = await box.gpus()
            assert text(first) == f"busy: trainer (pid {pid}, 2.1 GiB)"
            assert second.blocked is None
            end(pid)
            assert [g.blocked for g in await box.gpus()] == [None, None]


async def test_the_name_of_a_hostile_process_is_no_danger_to_a_terminal(gpu_box: GpuBox) -> None:
    async with watched() as box:
        with process("\x1b[2J\nok") as pid:
            gpu_box.set(gpu(0), f"process {uuid(0)} {pid} 10")
            assert await box.blocked() == f"busy: ?[2J?ok (pid {pid}, 10 MiB)"


async def test_processes_of_our_tasks_do_not_block(gpu_box: GpuBox) -> None:
    with process() as ours:
        gpu_box.set(gpu(0), f"process {uuid(0)} {ours} 9000")
        async with watched({ours: "task-1"}) as box:
            assert await box.blocked() is None
            (reading,) = box.inventory.state.readings
            assert reading.processes == (GpuProcess(ours, "python3", 9000, "task-1"),)


async def test_a_display_is_no_stranger(gpu_box: GpuBox) -> None:
    with process("Xorg") as pid:
        gpu_box.set(gpu(0, memory=8192), f"draws {uuid(0)} {pid} 3000")
        async with watched() as box:
            assert await box.blocked() is None


async def test_memory_without_a_process_blocks_the_gpu(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, used=600))
    async with watched() as box:
        assert await box.blocked() is None
        gpu_box.set(gpu(0, used=20_000))
        assert await box.blocked() == (
            "busy: 19.5 GiB of its memory are in use, by no visible process"
        )


async def test_memory_without_a_process_blocks_at_the_first_reading(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, used=40_000))
    async with watched() as box:
        assert str(await box.blocked()).startswith("busy: 39.1 GiB")


async def test_a_check_is_quick_when_all_is_well(
    gpu_box: GpuBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{NvmlInventory.__module__}._CHECK_PAUSE_SECONDS", 2 * SECONDS)
    gpu_box.set(*(gpu(n) for n in range(8)))
    async with watched() as box:
        found = await soon(box.inventory.check([uuid(1), uuid(5)]))
        assert found == {uuid(1): None, uuid(5): None}


async def test_a_check_waits_for_the_last_process(gpu_box: GpuBox) -> None:
    with process() as pid:
        gpu_box.set(gpu(0), f"process {uuid(0)} {pid} 9000")
        async with watched({pid: "task-1"}) as box:
            checking = asyncio.create_task(box.inventory.check([uuid(0)]))
            await box.inventory.refresh()
            assert not checking.done()
            end(pid)
            assert await soon(checking) == {uuid(0): None}


async def test_a_check_names_the_process_that_stays(gpu_box: GpuBox) -> None:
    with process() as pid:
        gpu_box.set(gpu(0), f"process {uuid(0)} {pid} 9000", gpu(1))
        async with watched({pid: "task-1"}) as box:
            found = await soon(box.inventory.check([uuid(0), uuid(1)]))
            python = Obstacle(ObstacleKind.BUSY, f"python3 (pid {pid}, 8.8 GiB)")
            assert found == {uuid(0): python, uuid(1): None}
            assert await soon(box.inventory.check([uuid(0)], {"task-1"})) == {uuid(0): None}


async def test_a_check_finds_memory_that_did_not_come_back(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0))
    async with watched() as box:
        gpu_box.set(gpu(0, used=4000))
        found = await soon(box.inventory.check([uuid(0)]))
        assert str(found[uuid(0)]).startswith("busy: 3.9 GiB of its memory")
        # It is told to all by the next look, which follows at once.
        await box.until(lambda state: state.gpus[0].blocked is not None)


async def test_check_of_an_unknown_gpu(gpu_box: GpuBox) -> None:
    async with watched() as box:
        found = await soon(box.inventory.check([uuid(9)]))
        assert found == {uuid(9): UNSEEN}


@pytest.mark.parametrize(
    ("code", "blocked", "lost"),
    [
        (79, "lost: it has fallen off the bus", True),
        (48, "sick: XID 48 (double-bit memory error)", False),
        (9999, "sick: XID 9999", False),
    ],
)
async def test_gpu_error_is_reported_immediately(
    gpu_box: GpuBox, code: int, blocked: str, lost: bool
) -> None:
    gpu_box.set(gpu(0), gpu(1))
    async with watched() as box:
        gpu_box.add(f"xid {uuid(1)} {code}")
        state = await box.until(lambda state: state.gpus[1].blocked is not None)
        assert [text(g) for g in state.gpus] == [None, blocked]
        assert [g.lost for g in state.gpus] == [False, lost]
        box.inventory.forgive(uuid(1))
        assert [g.blocked for g in await box.gpus()] == [None, None]


async def test_errors_of_programs_block_nothing_and_the_newest_are_kept(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0), gpu(1))
    async with watched() as box:
        gpu_box.add(*[f"xid {uuid(0)} 13"] * 30, f"xid {uuid(0)} 31", f"xid {uuid(1)} 48")
        await box.until(lambda state: state.gpus[1].blocked is not None)
        assert (await box.gpus())[0].blocked is None
        codes = [seen.code for seen in box.inventory.state.readings[0].xids]
        assert codes == [13] * 15 + [31]


@pytest.mark.parametrize(("handle", "lost"), [(4, False), (999, False), (15, True)])
async def test_a_gpu_that_can_t_be_found_just_now(gpu_box: GpuBox, handle: int, lost: bool) -> None:
    """Only a driver that says so has lost it."""
    gpu_box.set(gpu(0), gpu(1))
    async with watched() as box:
        gpu_box.set(gpu(0), gpu(1, handle=handle))
        assert [g.lost for g in await box.gpus()] == [False, lost]


async def test_a_lost_gpu(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0), gpu(1))
    async with watched() as box:
        gpu_box.set(gpu(0), gpu(1, error=15))
        well, lost = await box.gpus()
        assert not well.lost
        assert lost.lost
        assert lost.memory_mb == 81559
        assert await soon(box.inventory.check([uuid(1)])) == {uuid(1): lost.blocked}
        gpu_box.set(gpu(0), gpu(1))
        assert not any(g.lost for g in await box.gpus())


async def test_a_gpu_that_vanishes_stays_as_lost_and_in_its_place(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0), gpu(1), gpu(2))
    async with watched() as box:
        gpu_box.set(gpu(0), gpu(2))
        gpus = await box.gpus()
        assert [(g.uuid, g.position, text(g)) for g in gpus] == [
            (uuid(0), 0, None),
            (uuid(1), 1, "lost: no longer present"),
            (uuid(2), 2, None),
        ]


@pytest.mark.parametrize(
    ("facts", "blocked"),
    [
        ({"error": 16}, "sick: it must be reset"),
        ({"action": 2}, "sick: the machine must be restarted"),
        ({"ecc": 3, "action": None}, "sick: 3 uncorrectable memory errors (ECC)"),
        ({"ecc": 3, "action": 0}, None),
        ({"error": 999}, "unknown: driver error: Unknown Error"),
    ],
)
async def test_facts_of_a_gpu(
    gpu_box: GpuBox, facts: dict[str, object], blocked: str | None
) -> None:
    gpu_box.set(gpu(0), gpu(1))
    async with watched() as box:
        gpu_box.set(gpu(0), gpu(1, **facts))
        assert [text(g) for g in await box.gpus()] == [None, blocked]
        assert not any(g.lost for g in box.inventory.state.gpus)


async def test_mig_devices_stand_for_their_gpu(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, mig=1), mig(1, 0), mig(2, 0), gpu(1))
    async with watched() as box:
        first, second, whole = box.inventory.state.gpus
        assert first == Gpu("MIG-00000001", "NVIDIA H100 MIG 1g.10gb", 9856, 0, uuid(0))
        assert (second.position, whole.position, whole.uuid) == (1, 2, uuid(1))
        assert [r.index for r in box.inventory.state.readings] == ["0:0", "0:1", "1"]
        assert box.inventory.state.readings[1].temperature_c == 30
        with process() as pid:
            gpu_box.add(f"process MIG-00000002 {pid} 100")
            assert [g.blocked is None for g in await box.gpus()] == [True, False, True]


async def test_an_error_of_one_mig_device_is_its_own(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, mig=1), mig(1, 0), mig(2, 0))
    async with watched() as box:
        gpu_box.add(f"xid {uuid(0)} 95 2 0")
        state = await box.until(lambda state: any(g.blocked for g in state.gpus))
        assert [g.blocked is None for g in state.gpus] == [True, False]
        gpu_box.add(f"xid {uuid(0)} 119")
        await box.until(lambda state: all(g.blocked for g in state.gpus))


async def test_gpu_divided_anew_is_not_lost(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0))
    async with watched() as box:
        gpu_box.set(gpu(0, mig=1), mig(1, 0))
        assert [g.uuid for g in await box.gpus()] == ["MIG-00000001"]
        gpu_box.set(gpu(0, mig=1), mig(3, 0))
        assert [g.uuid for g in await box.gpus()] == ["MIG-00000003"]
        gpu_box.set(gpu(0))
        assert [(g.uuid, g.lost) for g in await box.gpus()] == [(uuid(0), False)]


async def test_a_lost_gpu_takes_its_mig_devices_with_it(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, mig=1), mig(1, 0), mig(2, 0), gpu(1))
    async with watched() as box:
        gone = {"error": 15}
        gpu_box.set(gpu(0, mig=1, **gone), mig(1, 0, **gone), mig(2, 0, **gone), gpu(1))
        assert [g.lost for g in await box.gpus()] == [True, True, False]
        assert box.inventory.state.notes == ()


async def test_mig_without_devices_is_reported(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, mig=1))
    async with watched() as box:
        assert box.inventory.state.gpus == ()
        (note,) = box.inventory.state.notes
        assert "it has no MIG devices" in note


@pytest.mark.slow
async def test_hundreds_of_changes_of_eight_gpus(gpu_box: GpuBox) -> None:
    """Whatever happens to which GPU: each is told as it is, no fault of one is another's."""
    dice = random.Random(8)  # noqa: S311 - a plan that is the same each time
    with process("stranger") as stranger, process("task") as ours:
        conditions: dict[str, tuple[Callable[[int], list[str]], str]] = {
            "well": (lambda n: [gpu(n)], ""),
            "foreign": (lambda n: [gpu(n), f"process {uuid(n)} {stranger} 9"], "busy: stranger"),
            "ours": (lambda n: [gpu(n), f"process {uuid(n)} {ours} 70000"], ""),
            "leak": (lambda n: [gpu(n, used=9999)], "busy: 9.8 GiB"),
            "reset": (lambda n: [gpu(n, action=1)], "sick: it must be reset"),
            "lost": (lambda n: [gpu(n, error=15)], "lost: it "),
            "gone": (lambda _: [], "lost: "),
            "strange": (lambda n: [gpu(n, error=999)], "unknown: driver error"),
        }
        now = ["well"] * 8
        gpu_box.set(*(gpu(n) for n in range(8)))
        async with watched({ours: "task-1"}) as box:
            for _ in range(300):
                for number in dice.sample(range(8), dice.randrange(1, 4)):
                    now[number] = dice.choice(list(conditions))
                gpu_box.set(*(line for n in range(8) for line in conditions[now[n]][0](n)))
                found = await box.gpus()
                assert [g.uuid for g in found] == [uuid(n) for n in range(8)]
                for number, one in enumerate(found):
                    expected = conditions[now[number]][1]
                    assert (text(one) or "").startswith(expected), now
                    assert (one.blocked is None) == (expected == ""), now
                    assert one.lost == expected.startswith("lost"), now
                well = [uuid(n) for n in range(8) if now[n] == "well"]
                assert await soon(box.inventory.check(well)) == dict.fromkeys(well)


async def test_unchanged_state_is_not_reported_again(gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, temp=30))
    async with watched() as box:
        gpu_box.set(gpu(0, temp=31, use=50))
        await box.gpus()
        assert len(box.told) == 1
        assert box.inventory.state.readings[0].temperature_c == 31


def test_closed_it_leaves_no_threads_behind(gpu_box: GpuBox) -> None:
    async def look() -> None:
        async with watched():
            pass

    gpu_box.set(gpu(0))
    asyncio.run(look())
    wait_until(lambda: not any("nvml-" in name for name in thread_names()))


def thread_names() -> list[str]:
    names = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            names.append((task / "comm").read_text())
    return names
