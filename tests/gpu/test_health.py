"""Conditions derived from a reading of a GPU: the table of XIDs and the rules around it."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from fetchml.core.gpus.health import (
    RECOVERY_ACTIONS,
    XIDS,
    GpuProcess,
    GpuReading,
    XidClass,
    XidSeen,
    derive,
    describe_xid,
    fault,
    idle_level,
    worst_xid,
    xid_class,
)

WELL = GpuReading(uuid="GPU-0", name="H100", memory_mb=80_000, used_mb=100, recovery_action=0)


def seen(*codes: int, at: int = 10) -> tuple[XidSeen, ...]:
    return tuple(XidSeen(at, code) for code in codes)


def test_healthy_gpu_has_no_condition() -> None:
    gpu = derive(WELL, 100)
    assert (gpu.blocked, gpu.lost) == (None, False)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (13, XidClass.APPLICATION),
        (31, XidClass.APPLICATION),
        (43, XidClass.APPLICATION),
        (45, XidClass.NOTE),
        (63, XidClass.NOTE),
        (94, XidClass.HIT),
        (48, XidClass.SICK),
        (64, XidClass.SICK),
        (74, XidClass.SICK),
        (95, XidClass.SICK),
        (119, XidClass.SICK),
        (79, XidClass.LOST),
        (1000, XidClass.SICK),
    ],
)
def test_class_of_each_xid(code: int, expected: XidClass) -> None:
    assert xid_class(code) is expected
    gpu = derive(replace(WELL, xids=seen(code)))
    assert (gpu.blocked is not None) == (expected >= XidClass.SICK)
    assert gpu.lost == (expected is XidClass.LOST)


def test_every_xid_has_a_description() -> None:
    assert all(words and describe_xid(code).startswith(f"XID {code} (") for code, (_, words) in
               XIDS.items())  # fmt: skip
    assert sorted(RECOVERY_ACTIONS) == list(range(1, 8))


def test_worst_and_first_xid_decides() -> None:
    assert worst_xid(()) is None
    assert worst_xid(seen(13, 95, 48, 43)) == XidSeen(10, 95)
    later = (*seen(79), XidSeen(20, 13))
    assert worst_xid(later, since=11) == XidSeen(20, 13)


def test_worst_condition_is_reported_first() -> None:
    busy = replace(WELL, processes=(GpuProcess(1, "a"),))
    sick = replace(busy, xids=seen(48))
    lost = replace(sick, lost="it has fallen off the bus")
    assert str(derive(busy).blocked).startswith("busy: ")
    assert str(derive(sick).blocked).startswith("sick: ")
    assert str(derive(lost).blocked).startswith("lost: ")


def test_message_names_at_most_two_foreign_processes() -> None:
    strangers = tuple(GpuProcess(n, f"job{n}", 100 * n) for n in range(1, 5))
    assert str(derive(replace(WELL, processes=strangers)).blocked) == (
        "busy: job1 (pid 1, 100 MiB), job2 (pid 2, 200 MiB) and 2 more"
    )


def test_message_for_an_invisible_process() -> None:
    unseen = replace(WELL, processes=(GpuProcess(7),))
    assert str(derive(unseen).blocked) == "busy: a process (pid 7)"


def test_memory_of_processes_is_counted() -> None:
    held = replace(
        WELL,
        used_mb=60_000,
        graphics_mb=900,
        processes=(GpuProcess(1, "a", 59_000, "task-1"),),
    )
    assert held.unaccounted_mb == 100
    assert derive(held, 0).blocked is None
    unknown = replace(held, processes=(GpuProcess(1, "a", None, "task-1"),))
    assert unknown.unaccounted_mb is None
    assert derive(unknown, 0).blocked is None


@pytest.mark.parametrize(("used", "blocked"), [(612, False), (613, True)])
def test_memory_above_the_tolerance_blocks_a_gpu(used: int, blocked: bool) -> None:
    assert (derive(replace(WELL, used_mb=used), 100).blocked is not None) == blocked


def test_idle_memory_is_the_lowest_reading_and_bounded() -> None:
    assert idle_level(replace(WELL, used_mb=300), None) == 300
    assert idle_level(replace(WELL, used_mb=50), 300) == 50
    assert idle_level(replace(WELL, used_mb=400), 300) == 300
    assert idle_level(replace(WELL, used_mb=70_000), None) == 8000
    assert idle_level(replace(WELL, used_mb=None), 300) == 300


def test_allowed_processes_do_not_block_a_gpu() -> None:
    both = replace(
        WELL, processes=(GpuProcess(1, "a", 1, "task-1"), GpuProcess(2, "b", 1, "task-2"))
    )
    assert fault(both, 100, {"task-1", "task-2"}) is None
    assert str(fault(both, 100, {"task-1"})) == "busy: b (pid 2, 1 MiB)"
    assert str(fault(replace(both, xids=seen(79)), 100, {"task-1", "task-2"})) == (
        "lost: it has fallen off the bus"
    )


def test_documentation_has_the_xid_table() -> None:
    page = (Path(__file__).parents[2] / "docs/gpu.md").read_text()
    for kind in XidClass:
        row = re.search(rf"^\| {kind.name.lower()} \| ([0-9][^|]*) \|", page, re.MULTILINE)
        assert row is not None
        documented: set[int] = set()
        for first, last in re.findall(r"([0-9]+)(?:–([0-9]+))?", row[1]):  # noqa: RUF001
            documented.update(range(int(first), int(last or first) + 1))
        assert documented == {code for code, (found, _) in XIDS.items() if found is kind}
