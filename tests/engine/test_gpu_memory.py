"""Memory of GPUs from readings and logs to the core, and learned peaks in the store."""

import msgspec
import pytest
from msgspec.structs import replace

from fetchml.attempts.hosts import ThisHost
from fetchml.auth.audit import Audit
from fetchml.core import packing
from fetchml.core.events import Collected, Ended, Event, GpuMemoryExhausted, GpuMemoryUsed, Started
from fetchml.core.gpus.health import GpuProcess
from fetchml.core.model import AttemptEnd
from fetchml.core.packing import LearnedPeaks
from fetchml.engine.gpus.activity import GpuActivity
from fetchml.engine.gpus.memory import memory_use, reports_too_little_memory
from fetchml.engine.gpus.peak_store import KIND, PeakStore, StoredPeaks, load_peaks
from fetchml.system.clock import Clock
from tests.support.memory_store import MemoryStore
from tests.support.stub_gpus import OWNER, START_MS, GpuBox, gpu_box, reading

JOB = (OWNER, "train")
GIB = 1024
FAILED = AttemptEnd(at=START_MS, started_at=START_MS, code=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def box(store: MemoryStore) -> GpuBox:
    return await gpu_box(store, Audit(store, clock_ms=Clock()))


def of(task_id: str, mb: int | None, pid: int = 1) -> GpuProcess:
    return GpuProcess(pid, "python3", mb, task_id=task_id)


# A reading


def test_task_alone_counts_with_all_memory_in_use() -> None:
    """Also where its processes are not visible."""
    found = memory_use(reading(0, used_mb=5_000), ["a"])
    assert found is not None
    assert found.tasks == {"a": 5_000}


def test_tasks_together_count_with_their_processes() -> None:
    processes = (of("a", 2_000), of("a", 100, 2), of("b", 3_000, 3), of("gone", 7, 4))
    found = memory_use(reading(0, used_mb=5_700, processes=processes), ["a", "b", "c"])
    assert found is not None
    assert found.tasks == {"a": 2_100, "b": 3_000, "c": 0}


@pytest.mark.parametrize(
    "about",
    [
        {"used_mb": None},
        {"lost": "gone"},
        {"trouble": "no answer"},
        {"processes": (of("a", None), of("b", 1, 2))},
        {"used_mb": 20_000, "processes": (of("a", 2_000), of("b", 1, 2))},
    ],
)
def test_unknown_memory_is_not_reported(about: dict[str, object]) -> None:
    """Of the last: most of it is used by processes that are not visible."""
    assert memory_use(reading(0, **{"used_mb": 5_000, **about}), ["a", "b"]) is None


async def test_reading_from_before_a_task_came_does_not_count(box: GpuBox) -> None:
    """It shows what the last task used."""
    events: list[Event] = []

    def report(event: Event) -> object:
        events.append(event)
        return box.report(event)

    box.pack()
    activity = GpuActivity(
        box.state,
        ThisHost(),
        box.inventory,
        clock=lambda: START_MS,
        report=report,  # type: ignore[arg-type]
    )
    box.see(reading(0))
    box.run("t")
    box.inventory.see(reading(0, used_mb=70_000))
    await activity.look()
    assert events == []
    box.inventory.see(reading(0, used_mb=5_000))
    await activity.look()
    await activity.look()
    (event,) = events
    assert isinstance(event, GpuMemoryUsed)
    assert [use.tasks for use in event.gpus] == [{"t": 5_000}]


# A log


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", True),
        ("RuntimeError: CUDA error: out of memory", True),
        ("failed to allocate: CUDA_ERROR_OUT_OF_MEMORY", True),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes", True),
        ("MemoryError", False),
        ("", False),
        (None, False),
    ],
)
def test_messages_of_frameworks(output: str | None, told: bool) -> None:
    assert reports_too_little_memory(output) == told


def started(box: GpuBox, *task_ids: str) -> None:
    for task_id in task_ids:
        box.run(task_id)
        box.report(Started(START_MS, task_id, 1, START_MS))


async def test_task_is_believed_only_about_itself_and_only_beside_others(box: GpuBox) -> None:
    box.pack(slots=3).learn(JOB, GIB)
    box.see(reading(0), reading(1))
    started(box, "a", "b")
    box.outputs = dict.fromkeys("ab", "CUDA out of memory")
    one = box.state.tasks["a"]
    assert one.gpu_uuids == box.state.tasks["b"].gpu_uuids
    assert await box.gpus.failure(one, replace(FAILED, code=0)) is None
    assert await box.gpus.failure(one, FAILED) == GpuMemoryExhausted(START_MS, "a", 1)
    box.outputs["a"] = "Traceback"
    assert await box.gpus.failure(one, FAILED) is None


async def test_task_alone_is_not_believed(box: GpuBox) -> None:
    box.pack().learn(JOB, GIB)
    box.see(reading(0))
    started(box, "a")
    box.outputs["a"] = "CUDA out of memory"
    assert await box.gpus.failure(box.state.tasks["a"], FAILED) is None


async def test_forged_report_teaches_nothing_about_others(box: GpuBox) -> None:
    known = box.pack()
    known.learn(JOB, GIB)
    known.learn(("eve", "train"), GIB)
    box.see(reading(0))
    started(box, "a")
    box.run("b", user="eve")
    box.outputs["b"] = "CUDA out of memory"
    box.report(Started(START_MS, "b", 1, START_MS))
    box.report(Ended(START_MS, "b", 1, FAILED))
    event = await box.gpus.failure(box.state.tasks["b"], FAILED)
    assert event is not None
    box.report(event)
    box.report(Collected(START_MS, "b", 1))
    assert known.get(("eve", "train")) == GIB + 81_920 // 4
    assert known.get(JOB) == GIB


# The store


async def test_peaks_survive_a_restart(box: GpuBox, store: MemoryStore) -> None:
    known = box.pack()
    for number, job in enumerate([JOB, ("ada", "x\0y"), ("ada\0x", "y")]):
        known.learn(job, number)
    known.learn(JOB, 7)
    await box.gpus.save_peaks()
    assert sorted(await load_peaks(store)) == sorted(known.dump())
    assert known.changed == set()


async def test_job_beyond_the_bounds_leaves_the_store_after_a_restart(store: MemoryStore) -> None:
    """A server that was killed between two records of one save has left one too many."""
    first = await gpu_box(store, Audit(store, clock_ms=Clock()))
    known, kept = first.pack(), 0
    saved = PeakStore(store, first.state, lambda: START_MS + kept)
    for kept in range(packing.MOST_OF_USER):
        known.learn((OWNER, str(kept)), 1)
        await saved.save()
    extra = StoredPeaks(OWNER, "extra", (1,), START_MS + packing.MOST_OF_USER)
    await store.put_document(KIND, "extra", msgspec.json.encode(extra))
    again = LearnedPeaks(await load_peaks(store))
    assert again.changed == {(OWNER, "0")}
    assert first.state.packing is not None
    first.state.packing.peaks = again
    await saved.save()
    assert len(await load_peaks(store)) == packing.MOST_OF_USER


async def test_peak_is_saved_again_after_a_fault_of_the_disk(store: MemoryStore) -> None:
    box = await gpu_box(store, Audit(store, clock_ms=Clock()))
    known = box.pack()
    known.learn(JOB, 1)
    put = store.put_document

    async def fails(*_: object) -> None:
        raise OSError("disk")

    store.put_document = fails  # type: ignore[method-assign, assignment]
    with pytest.raises(OSError, match="disk"):
        await box.gpus.save_peaks()
    store.put_document = put  # type: ignore[method-assign]
    await box.gpus.save_peaks()
    assert await load_peaks(store) == [(JOB, (1,))]
